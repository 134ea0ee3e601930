//! The password of Redis, if it is in a file: it is read again when that changes.
//!
//! Managed services take tokens that end after some minutes, as passwords. A token refresher writes them to a file; new
//! connections use the latest, and live ones log in again with it. redis-rs can do that too: it gives up for good if the
//! server does not know the new password yet.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use ::redis::{Client, Cmd, RedisError};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{sync::watch, time};

use super::OpenError;
use crate::{config::RedisAccess, json::Json};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where the password comes from, if not from the URL. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    user: Option<String>,
    file: Option<Arc<PasswordFile>>,
}

struct PasswordFile {
    path: PathBuf,
    password: watch::Sender<String>,
}

impl Credentials {
    /// The user of `access`, and the password in its file.
    ///
    /// # Errors
    /// If the file cannot be read, or is empty.
    pub(super) fn read(access: &RedisAccess) -> Result<Self, OpenError> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).and_then(|text| password(&text));
            let password =
                text.map_err(|error| OpenError::file("store.redis_password_file", path, &error))?;
            Ok(Arc::new(PasswordFile { path: path.clone(), password: watch::Sender::new(password) }))
        };
        let file = access.password_file.as_ref().map(read).transpose()?;
        Ok(Self { user: access.username.clone(), file })
    }

    /// `client` with this user, and the password that is in the file now.
    pub(super) fn applied_to(&self, client: &Client) -> Result<Client, RedisError> {
        if self.user.is_none() && self.file.is_none() {
            return Ok(client.clone());
        }
        let info = client.get_connection_info().clone();
        let mut settings = info.redis_settings().clone();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(file) = &self.file {
            settings = settings.set_password(&*file.password.borrow());
        }
        Client::open(info.set_redis_settings(settings))
    }

    /// The command with which a connection of `client` logs in again; `None` without a file.
    pub(super) fn command(&self, client: &Client) -> Option<Cmd> {
        let file = self.file.as_ref()?;
        let settings = client.get_connection_info().redis_settings();
        let mut command = ::redis::cmd("AUTH");
        command.arg(self.user.as_deref().or(settings.username()));
        command.arg(&*file.password.borrow());
        Some(command)
    }

    /// The passwords from now on; `None` without a file.
    pub(super) fn changes(&self) -> Option<watch::Receiver<String>> {
        self.file.as_ref().map(|file| file.password.subscribe())
    }

    /// When the password in the file ends, in Unix seconds; `None` if it does not say.
    pub(super) fn password_ends(&self) -> Option<u64> {
        end(&self.file.as_ref()?.password.borrow())
    }

    /// Looks at the file for as long as the task runs. A file that cannot be read changes nothing: it may be being
    /// replaced.
    pub(super) async fn watch(self) {
        let Some(file) = self.file else { return };
        loop {
            time::sleep(LOOK_EVERY).await;
            let text = tokio::fs::read_to_string(&file.path).await;
            if let Ok(latest) = text.and_then(|text| password(&text)) {
                file.password.send_if_modified(|known| std::mem::replace(known, latest.clone()) != latest);
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("in_file", &self.file.is_some()).finish_non_exhaustive()
    }
}

/// When a password ends that is a JWT, in Unix seconds (`exp`; RFC 7519, section 4.1.4). Nobody relies on it but those
/// who look after the file.
fn end(password: &str) -> Option<u64> {
    let payload = password.split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    match Json::parse(&payload).ok()?.get("exp")? {
        Json::Number(text) => text.parse::<f64>().ok().map(|seconds| seconds as u64),
        _ => None,
    }
}

/// The text of a file, without the end of line that editors add.
fn password(text: &str) -> std::io::Result<String> {
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(std::io::Error::other("it is empty")),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_when_it_ends() {
        let token = |payload: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        for (password, expected) in [
            (token(r#"{"sub": "a", "exp": 1800000000}"#), Some(1_800_000_000)),
            (token(r#"{"exp": 1800000000.9}"#), Some(1_800_000_000)),
            (token(r#"{"exp": "soon"}"#), None),
            (token(r#"{"sub": "a"}"#), None),
            (token("[]"), None),
            ("a.password.with.points".to_owned(), None),
            ("password".to_owned(), None),
        ] {
            assert_eq!(end(&password), expected, "{password}");
        }
    }
}
