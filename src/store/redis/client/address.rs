//! How Redis is reached: its URL, and what a TLS connection needs.

use std::path::PathBuf;

use ::redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, TlsCertificates};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::RootCertStore;
use rustls_native_certs::load_native_certs;

use super::OpenError;
use crate::config::ClientTls;

/// The Redis at `url`. Reads the files of `tls`; connects to nothing.
///
/// # Errors
/// If `url` is no Redis URL, or a file cannot be read or is not what it should be. The texts never show the
/// URL.
pub(super) fn redis_at(url: &str, tls: &ClientTls) -> Result<Client, OpenError> {
    let info = url.into_connection_info().map_err(|error| OpenError::url(&error))?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    // `CLIENT SETINFO` is refused by Redis 7.0 and by many a restricted user.
    let redis = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.set_tcp_settings(tcp).set_redis_settings(redis);
    let is_verified = matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. });
    if *tls == ClientTls::default() && !is_verified {
        return Client::open(info).map_err(|error| OpenError::url(&error));
    }
    let read =
        |setting, path: &PathBuf| std::fs::read(path).map_err(|error| OpenError::file(setting, path, &error));
    let client_tls = match &tls.client {
        Some((cert, key)) => Some(ClientTlsConfig {
            client_cert: read("store.redis_cert", cert)?,
            client_key: read("store.redis_key", key)?,
        }),
        None => None,
    };
    let root_cert = match &tls.ca {
        Some(ca) => Some(read("store.redis_ca", ca)?),
        None => is_verified.then(system_roots),
    };
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
        .map_err(|error| OpenError::tls(&error))
}

/// The authorities that the system trusts, in PEM. They are read once: redis-rs would read some hundred files
/// for each connection, in the time that connecting may take, and on the thread that answers requests.
fn system_roots() -> Vec<u8> {
    let mut good = RootCertStore::empty();
    let certs = load_native_certs().certs.into_iter().filter(|cert| good.add(cert.clone()).is_ok());
    let pem = |cert: &[u8]| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(cert))
    };
    certs.map(|cert| pem(&cert)).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "redis://127.0.0.1",
            "redis://user:pa%2Fss@localhost:6380/3",
            "rediss://[::1]:6379/#insecure",
            "unix:///run/redis.sock?db=2",
            "redis+unix:///run/redis.sock",
            "valkey://localhost",
        ] {
            let client =
                redis_at(good, &ClientTls::default()).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert!(client.get_connection_info().tcp_settings().nodelay());
        }
        for bad in ["", "localhost:6379", "http://localhost", "redis://:secret@/x", "redis://h/:secret"] {
            let error = redis_at(bad, &ClientTls::default()).map(|_| ()).map_err(|error| error.to_string());
            assert!(error.is_err_and(|text| !text.contains("secret")), "{bad}");
        }
    }

    #[test]
    fn files_that_are_of_no_use_are_reported() {
        let missing = ClientTls { ca: Some("/no/such/file.pem".into()), client: None };
        let error =
            redis_at("rediss://:secret@localhost", &missing).map(|_| ()).map_err(|error| error.to_string());
        assert!(
            error.as_ref().is_err_and(|text| text.starts_with("store.redis_ca: /no/such/file.pem")),
            "{error:?}"
        );
        let some = tempfile::NamedTempFile::new().expect("a file");
        let tls = ClientTls { ca: Some(some.path().to_owned()), client: None };
        let error =
            redis_at("redis://:secret@localhost", &tls).map(|_| ()).map_err(|error| error.to_string());
        assert!(
            error.as_ref().is_err_and(|text| text.contains("PEM") && !text.contains("secret")),
            "{error:?}"
        );
    }
}
