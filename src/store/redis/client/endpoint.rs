//! The server that calls go to: the one of the URL, or the master that the sentinels name.
//!
//! redis-rs has a client for sentinels too. It asks them with retries of its own and without a deadline, and 50 ms are
//! promised; so the one command is sent here, over the same connections as all others.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, RedisError, Value,
    aio::MultiplexedConnection, from_redis_value,
};

use tokio::sync::watch;

use super::{
    OpenError,
    address::redis_at,
    connections::send,
    credentials::Credentials,
    error::{protocol, within},
    open_connection::OpenConnection,
};
use crate::config::{RedisAccess, RedisTopology, RedisUrl};

/// For making a connection: name resolution, TCP, TLS and login together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Where Redis is. Clones are the same.
#[derive(Clone)]
pub(crate) struct Endpoint(Arc<Servers>);

struct Servers {
    /// The server, with the user and the database. With sentinels, the master has another address.
    server: Client,
    credentials: Credentials,
    sentinels: Option<Sentinels>,
    /// Whether it has a part of a cluster's keys.
    is_shard: bool,
    /// How many connections are open, those to other servers of the cluster included.
    open: Arc<AtomicU64>,
}

/// The sentinels, and the master that they are asked for.
struct Sentinels {
    clients: Vec<Client>,
    master: String,
    /// The login of Redis, for sentinels without one of their own.
    credentials: Option<Credentials>,
    /// The sentinel that answered last is asked first.
    next: AtomicUsize,
}

impl Endpoint {
    /// The server, or the sentinels, of `url`. Reads the files that `access` names; connects to nothing.
    ///
    /// # Errors
    /// If `url` is no URL of Redis, or a file cannot be read or is not what it should be. The texts never show the URL.
    pub(super) fn new(url: &RedisUrl, access: &RedisAccess) -> Result<Self, OpenError> {
        let credentials = Credentials::read(access)?;
        let server = redis_at(url.servers.first().map_or("", String::as_str), &access.tls)?;
        let sentinels = match &url.topology {
            RedisTopology::Sentinel { master } => {
                let shared = credentials.clone();
                Some(Sentinels::new(url, master, access, shared)?)
            }
            RedisTopology::Server | RedisTopology::Cluster => None,
        };
        let is_shard = url.topology == RedisTopology::Cluster;
        Ok(Self(Arc::new(Servers { server, credentials, sentinels, is_shard, open: Arc::default() })))
    }

    /// Each server of the URL of a cluster.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub(super) fn seeds(first: &Self, url: &RedisUrl, access: &RedisAccess) -> Result<Vec<Self>, OpenError> {
        let seed = |server: &String| redis_at(server, &access.tls).map(|server| first.with(server));
        url.servers.iter().map(seed).collect()
    }

    fn with(&self, server: Client) -> Self {
        let Servers { credentials, is_shard, open, .. } = &*self.0;
        let (credentials, open) = (credentials.clone(), Arc::clone(open));
        Self(Arc::new(Servers { server, credentials, sentinels: None, is_shard: *is_shard, open }))
    }

    /// The server of the same cluster at `host` and `port`.
    pub(super) fn at(&self, host: &str, port: u16) -> Result<Self, RedisError> {
        at(&self.0.server, host, port).map(|server| self.with(server))
    }

    /// Whether both are the same one, not only of the same server.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The address of the server, as text.
    pub(super) fn address(&self) -> String {
        self.0.server.get_connection_info().addr().to_string()
    }

    /// The host of the server; empty for a socket.
    pub(super) fn host(&self) -> String {
        match self.0.server.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            _ => String::new(),
        }
    }

    /// Whether the settings say that it is one server, neither of a cluster nor behind sentinels.
    pub(super) fn is_alone(&self) -> bool {
        self.0.sentinels.is_none() && !self.0.is_shard
    }

    /// Whether it is reached over TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self.0.server.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    /// How many connections are open, to all servers of a cluster.
    pub(super) fn connections(&self) -> u64 {
        self.0.open.load(Ordering::Relaxed)
    }

    /// The passwords from now on; `None` if they are in no file.
    pub(crate) fn passwords(&self) -> Option<watch::Receiver<String>> {
        self.0.credentials.changes()
    }

    /// The command with which a connection logs in again; `None` if the password is in no file.
    pub(crate) fn login(&self) -> Option<Cmd> {
        self.0.credentials.command(&self.0.server)
    }

    /// The server that is the master now.
    ///
    /// # Errors
    /// If no sentinel names one.
    pub(super) async fn server(&self) -> Result<Server, RedisError> {
        let Servers { server, credentials, sentinels, is_shard, open } = &*self.0;
        let client = match sentinels {
            None => server.clone(),
            Some(sentinels) => {
                let (host, port) = sentinels.ask().await?;
                at(server, &host, port)?
            }
        };
        let (credentials, must_be_master) = (credentials.clone(), sentinels.is_some());
        Ok(Server { client, credentials, must_be_master, is_shard: *is_shard, open: Arc::clone(open) })
    }

    /// Whether the sentinels name another master than `server`: that one may have been demoted with its connections open.
    /// If they do not answer, nothing has changed.
    pub(super) async fn has_moved(&self, server: &Server) -> bool {
        self.0.sentinels.is_some() && self.server().await.is_ok_and(|now| now.address() != server.address())
    }

    /// Opens a connection to the master, without retries; `queue` commands may wait to be written.
    ///
    /// # Errors
    /// If the server is not reached, or is no master although the sentinels say so.
    pub(crate) async fn open(&self, queue: usize) -> Result<OpenConnection, RedisError> {
        self.server().await?.open(queue).await
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Endpoint").field("has_sentinels", &self.0.sentinels.is_some()).finish_non_exhaustive()
    }
}

/// One server.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
    credentials: Credentials,
    /// Sentinels may name a server that is a replica by now.
    must_be_master: bool,
    is_shard: bool,
    open: Arc<AtomicU64>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address's neighbour is the password.
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// Whether it has a part of a cluster's keys, and refuses the others.
    pub(super) const fn is_shard(&self) -> bool {
        self.is_shard
    }

    fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The command with which a connection logs in again; `None` if the password is in no file.
    pub(super) fn login(&self) -> Option<Cmd> {
        self.credentials.command(&self.client)
    }

    /// Opens a connection, without retries; `queue` commands may wait to be written.
    ///
    /// # Errors
    /// See [`Endpoint::open`].
    pub(super) async fn open(&self, queue: usize) -> Result<OpenConnection, RedisError> {
        let client = self.credentials.applied_to(&self.client)?;
        let mut connection = OpenConnection::new(open(&client, queue).await?, Arc::clone(&self.open));
        if self.must_be_master {
            let role = within(CONNECT_TIMEOUT, send(&mut connection, &::redis::cmd("ROLE"))).await;
            // A user without the right to ask gets READONLY for a write, and then another connection.
            if let Ok(Value::Array(role)) = role
                && role.first().is_some_and(|role| *role != Value::BulkString(b"master".to_vec()))
            {
                return Err((ErrorKind::Client, "the server is no master").into());
            }
        }
        Ok(connection)
    }
}

impl Sentinels {
    fn new(
        url: &RedisUrl,
        master: &str,
        access: &RedisAccess,
        credentials: Credentials,
    ) -> Result<Self, OpenError> {
        let client = |url: &String| {
            let client = redis_at(url, &access.tls)?;
            let info = client.get_connection_info().clone();
            let mut settings = info.redis_settings().clone().set_db(0);
            if let Some(user) = &access.sentinel_username {
                settings = settings.set_username(user);
            }
            if let Some(password) = &access.sentinel_password {
                settings = settings.set_password(password.expose());
            }
            Client::open(info.set_redis_settings(settings)).map_err(|error| OpenError::url(&error))
        };
        let clients = url.servers.iter().map(client).collect::<Result<_, _>>()?;
        let has_own_login = access.sentinel_username.is_some() || access.sentinel_password.is_some();
        let credentials = (!has_own_login).then_some(credentials);
        Ok(Self { clients, master: master.to_owned(), credentials, next: AtomicUsize::new(0) })
    }

    /// The address of the master: that of the first sentinel which knows one.
    async fn ask(&self) -> Result<(String, u16), RedisError> {
        let first = self.next.load(Ordering::Relaxed);
        let mut failure = None;
        for place in (0..self.clients.len()).map(|place| (first + place) % self.clients.len()) {
            match within(CONNECT_TIMEOUT, self.ask_one(&self.clients[place])).await {
                Ok(Some(address)) => {
                    self.next.store(place, Ordering::Relaxed);
                    return Ok(address);
                }
                Ok(None) => {
                    failure = failure.or(Some((ErrorKind::Client, "no sentinel knows the master").into()));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(protocol))
    }

    /// `None` if this sentinel knows no master of that name.
    async fn ask_one(&self, sentinel: &Client) -> Result<Option<(String, u16)>, RedisError> {
        let client = match &self.credentials {
            Some(credentials) => credentials.applied_to(sentinel)?,
            None => sentinel.clone(),
        };
        let mut connection = match open(&client, 1).await {
            // Most sentinels want no password, and refuse one.
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed => {
                let info = sentinel.get_connection_info().clone();
                let settings = ::redis::RedisConnectionInfo::default().set_skip_set_lib_name();
                open(&Client::open(info.set_redis_settings(settings))?, 1).await?
            }
            opened => opened?,
        };
        let mut ask = ::redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        let reply = send(&mut connection, &ask).await?;
        let Some((host, port)) =
            from_redis_value::<Option<(String, String)>>(reply).map_err(|_| protocol())?
        else {
            return Ok(None);
        };
        Ok(Some((host, port.parse().map_err(|_| protocol())?)))
    }
}

/// The same client for the server at another address, over TLS if it uses TLS.
fn at(client: &Client, host: &str, port: u16) -> Result<Client, RedisError> {
    let info = client.get_connection_info().clone();
    let address = match info.addr().clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    Client::open(info.set_addr(address))
}

async fn open(client: &Client, queue: usize) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_pipeline_buffer_size(queue)
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        // Every call has an outer deadline, which also covers the wait for a place in the queue.
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}
