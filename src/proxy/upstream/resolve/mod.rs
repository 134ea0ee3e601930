//! The addresses of the upstream's name. The system's resolver does not say how long they hold, so it is asked again at
//! most every `upstream.resolve_every`, and at once after a connection that failed.
//!
//! One lookup runs at a time, on a thread for what blocks: a resolver that hangs holds up one such thread, and no
//! worker. While it does, the addresses that were found before are used. Resolvers as crates (hickory) know how long an
//! address holds; but they read `/etc/hosts`, `nsswitch` and search domains in ways of their own, and operators debug
//! what the system does.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
    vec,
};

use arc_swap::ArcSwapOption;
use hyper_util::client::legacy::connect::dns::Name;
use parking_lot::Mutex;
use tokio::{
    net::lookup_host,
    sync::watch,
    time::{Instant, timeout_at},
};
use tower_service::Service;

/// How long a connection waits for a lookup if addresses are known from before, counted from the lookup's beginning.
const GRACE: Duration = Duration::from_secs(1);

/// However many connections fail, lookups are no closer than this.
const PAUSE: Duration = Duration::from_millis(200);

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Finds the addresses of a name.
type Lookup = dyn Fn(&str) -> Task<io::Result<Vec<IpAddr>>> + Send + Sync;

/// The upstream's name has no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ResolveError(#[source] Arc<io::Error>);

/// The addresses of one name. All clones are one.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    name: String,
    /// How long addresses hold.
    every: Duration,
    lookup: Box<Lookup>,
    known: ArcSwapOption<Known>,
    /// Whether a connection failed since the last lookup.
    is_doubted: AtomicBool,
    running: Mutex<Option<Running>>,
}

/// What the last lookup found.
#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    at: Instant,
}

/// A lookup that is under way: it gets its result. Its sender is gone once it has ended.
#[derive(Clone, Debug)]
struct Running {
    result: watch::Receiver<Option<Result<(), ResolveError>>>,
    since: Instant,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Resolver {
    /// Asks the system.
    pub(super) fn system(name: &str, every: Duration) -> Self {
        Self::new(name, every, |name| {
            let name = name.to_owned();
            Box::pin(async move {
                let found = lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn new(
        name: &str,
        every: Duration,
        lookup: impl Fn(&str) -> Task<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            name: name.to_owned(),
            every,
            lookup: Box::new(lookup),
            known: ArcSwapOption::empty(),
            is_doubted: AtomicBool::new(false),
            running: Mutex::default(),
        }))
    }

    /// Whether a name was looked up, so that connections have addresses that may go.
    pub(super) fn is_used(&self) -> bool {
        self.0.known.load().is_some()
    }

    /// Whether the name has this address, as far as is known.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.0.known.load().as_ref().is_none_or(|known| known.addresses.contains(&address))
    }

    /// Has the name looked up again if it is time; nothing waits for that.
    pub(super) fn refresh(&self, now: Instant) {
        if self.0.known.load().as_ref().is_some_and(|known| self.is_due(known, now)) {
            self.start(now);
        }
    }

    /// Notes that a connection failed: the next one waits for a lookup.
    pub(super) fn doubt(&self) {
        self.0.is_doubted.store(true, Ordering::Relaxed);
    }

    /// The addresses, as far as they are known.
    pub(super) fn known(&self) -> Option<Vec<IpAddr>> {
        self.0.known.load().as_ref().map(|known| known.addresses.clone())
    }

    /// Whether a lookup finds other addresses than those of `before`.
    pub(super) async fn differs(&self, before: &[IpAddr]) -> bool {
        self.addresses().await.is_ok_and(|now| now.iter().any(|address| !before.contains(address)))
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, ResolveError> {
        let (known, now) = (self.0.known.load_full(), Instant::now());
        if let Some(known) = &known
            && !self.is_due(known, now)
        {
            return Ok(known.addresses.clone());
        }
        let Running { mut result, since } = self.start(now);
        let ended = async {
            let ended = result.wait_for(Option::is_some).await;
            ended.ok().and_then(|result| result.clone()).unwrap_or_else(|| Err(abandoned()))
        };
        match known {
            Some(_) => drop(timeout_at(since + GRACE, ended).await),
            None => ended.await?,
        }
        self.known().ok_or_else(abandoned)
    }

    fn is_due(&self, known: &Known, now: Instant) -> bool {
        let age = now.saturating_duration_since(known.at);
        age >= self.0.every || (age >= PAUSE && self.0.is_doubted.load(Ordering::Relaxed))
    }

    /// The lookup that is under way, or else a new one.
    fn start(&self, now: Instant) -> Running {
        let mut running = self.0.running.lock();
        if let Some(running) = running.as_ref().filter(|running| running.result.has_changed().is_ok()) {
            return running.clone();
        }
        let (told, result) = watch::channel(None);
        let begun = Running { result, since: now };
        *running = Some(begun.clone());
        let resolver = self.clone();
        tokio::spawn(async move {
            let found = (resolver.0.lookup)(&resolver.0.name).await;
            told.send_replace(Some(resolver.note(found)));
        });
        begun
    }

    /// Notes what a lookup found. If it found nothing, what is known holds as long again.
    fn note(&self, found: io::Result<Vec<IpAddr>>) -> Result<(), ResolveError> {
        let found = found.and_then(|found| match found.len() {
            0 => Err(io::Error::new(io::ErrorKind::NotFound, "it has none")),
            _ => Ok(found),
        });
        self.0.is_doubted.store(false, Ordering::Relaxed);
        let (addresses, result) = match (found, self.known()) {
            (Ok(found), _) => (found, Ok(())),
            (Err(error), Some(known)) => (known, Err(ResolveError(Arc::new(error)))),
            (Err(error), None) => return Err(ResolveError(Arc::new(error))),
        };
        self.0.known.store(Some(Arc::new(Known { addresses, at: Instant::now() })));
        result
    }
}

/// The lookup's runtime has ended.
fn abandoned() -> ResolveError {
    ResolveError(Arc::new(io::Error::other("the lookup was abandoned")))
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Task<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// The name is always this resolver's own.
    fn call(&mut self, _: Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses().await?;
            // The connector puts the port in.
            let addresses: Vec<_> = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests;
