//! The servers that all cases share.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use support::{
    arguments::Arguments,
    nginx,
    process::{self, Listening},
    sidecache::{self, Options},
    varnish,
};

use crate::{
    comparison::Work,
    generator::{Load, Numbers},
    numbered_request::NumberedRequest,
    origin::{self, Service},
};

/// Callers in every case, where nobody says how many.
const CONNECTIONS: usize = 32;

/// The number of different questions in cases with hits only.
pub(crate) const KNOWN: u64 = 10;

/// The service, and other caches if they are installed.
#[derive(Debug)]
pub(crate) struct Environment {
    folder: TempDir,
    /// The service behind all of them.
    pub(crate) service: Service,
    /// A bare hyper server.
    pub(crate) hello: Listening,
    /// Another one, whose answer is like a hit.
    pub(crate) same_answer: Listening,
    /// nginx.
    pub(crate) nginx: Option<Listening>,
    /// Varnish.
    pub(crate) varnish: Option<Listening>,
    /// The binary of another version, which is measured beside this one.
    before: Option<PathBuf>,
}

impl Environment {
    /// Starts all servers.
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let service = Service::start();
        let nginx = nginx::start(folder.path(), service.port());
        let varnish = varnish::start(folder.path(), service.port());
        let before = Arguments::read().value("--before");
        Self {
            folder,
            hello: origin::hello(),
            same_answer: origin::same_answer(),
            nginx,
            varnish,
            before,
            service,
        }
    }

    /// A folder for the processes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A sidecache in front of the service, with options that `change` has changed.
    pub(crate) fn sidecache<'a>(&self, change: impl FnOnce(Options<'a>) -> Options<'a>) -> Listening {
        sidecache::start(self.folder(), change(Options::to(self.service.port())))
    }

    /// The same of the other version, if there is one.
    pub(crate) fn before<'a>(&'a self, change: impl FnOnce(Options<'a>) -> Options<'a>) -> Option<Listening> {
        let binary = self.before.as_deref()?;
        Some(self.sidecache(|options| Options { binary, ..change(options) }))
    }

    /// A Redis, if it is installed.
    pub(crate) fn redis(&self) -> Option<Listening> {
        process::redis(self.folder())
    }
}

/// How many callers there are in every case.
pub(crate) fn connections() -> usize {
    Arguments::read().value("--connections").unwrap_or(CONNECTIONS)
}

/// Known questions to `process`.
pub(crate) fn hits(process: &Listening, question: NumberedRequest) -> Work {
    asks(process.port, question, Numbers::Below(KNOWN))
}

/// Questions to `port`, whose answers repeat their numbers.
pub(crate) fn asks(port: u16, question: NumberedRequest, numbers: Numbers) -> Work {
    Work::Answers(Load { port, question, numbers, is_answered: true, connections: connections() })
}

/// Requests to a server that answers everything with a greeting.
pub(crate) fn greetings(hello: &Listening, question: NumberedRequest) -> Work {
    let numbers = Numbers::Below(KNOWN);
    Work::Answers(Load {
        port: hello.port,
        question,
        numbers,
        is_answered: false,
        connections: connections(),
    })
}
