//! What all cases are played on.

use std::path::Path;

use tempfile::TempDir;

use crate::{
    case::Work,
    generator::{Load, Numbers},
    origin::{self, Service},
    question::Question,
    support::{
        nginx,
        process::{self, Listening},
        sidecache::{self, Options},
        varnish,
    },
};

/// Callers in every case.
pub(crate) const CONNECTIONS: usize = 32;

/// How many different questions are asked where all are hits.
pub(crate) const KNOWN: u64 = 10;

/// The service, and the caches beside sidecache, where they are installed.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: TempDir,
    /// The service behind all of them.
    pub(crate) service: Service,
    /// A bare hyper server.
    pub(crate) hello: Listening,
    /// nginx.
    pub(crate) nginx: Option<Listening>,
    /// Varnish.
    pub(crate) varnish: Option<Listening>,
}

impl Stage {
    /// Starts all of it.
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let service = Service::start();
        let nginx = nginx::start(folder.path(), service.port());
        let varnish = varnish::start(folder.path(), service.port());
        Self { folder, hello: origin::hello(), nginx, varnish, service }
    }

    /// A folder for what is started.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A sidecache in front of the service, with what `change` makes of the options.
    pub(crate) fn sidecache<'a>(&self, change: impl FnOnce(Options<'a>) -> Options<'a>) -> Listening {
        sidecache::start(self.folder(), change(Options::to(self.service.port())))
    }

    /// A Redis, where it is installed.
    pub(crate) fn redis(&self) -> Option<Listening> {
        process::redis(self.folder())
    }
}

/// Questions that were asked before, at `process`.
pub(crate) fn hits(process: &Listening, question: Question) -> Work {
    asks(process.port, question, Numbers::Below(KNOWN))
}

/// Questions to `port`, answered with what they name.
pub(crate) fn asks(port: u16, question: Question, numbers: Numbers) -> Work {
    Work::Answers(Load { port, question, numbers, is_answered: true, connections: CONNECTIONS })
}

/// `question` to a server that says hello to everything.
pub(crate) fn greetings(hello: &Listening, question: Question) -> Work {
    let numbers = Numbers::Below(KNOWN);
    Work::Answers(Load { port: hello.port, question, numbers, is_answered: false, connections: CONNECTIONS })
}
