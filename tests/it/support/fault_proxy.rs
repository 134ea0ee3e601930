//! A proxy in front of a Redis that makes it fail as the test wants: late, wrong, repeated or no replies.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_buf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// What the proxy does with a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Passes it on, and the reply back.
    Pass,
    /// Passes it on, and the reply back after this time. Replies to later commands are not delayed beyond
    /// their own time.
    Delay(Duration),
    /// Does not pass it on; gives this reply.
    Reply(&'static str),
    /// Sends the reply twice: from then on, each request on this connection gets the reply to the one before
    /// it.
    Duplicate,
    /// Sends nothing back any more on this connection.
    Hang,
}

type Rule = Arc<dyn Fn(&str) -> Action + Send + Sync>;

/// What the replies' half of a connection does next.
enum Step {
    /// Answers a command that came then.
    Answer(Action, Instant),
    /// Passes on whatever comes: the server sends without being asked.
    PassAll,
}

/// The proxy, on a port of its own; it passes everything on until [`Self::apply`].
pub(crate) struct FaultProxy {
    port: u16,
    rule: Arc<Mutex<Rule>>,
}

impl FaultProxy {
    /// A proxy in front of the server on the port `server`.
    pub(crate) async fn in_front_of(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Arc::new(|_| Action::Pass)));
        let current = Arc::clone(&rule);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let current = Arc::clone(&current);
                tokio::spawn(async move { relay(client, server, &current).await });
            }
        });
        Self { port, rule }
    }

    /// The URL that leads through it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on, does with a command what `rule` says of its name (in capitals).
    pub(crate) fn apply(&self, rule: impl Fn(&str) -> Action + Send + Sync + 'static) {
        *self.rule.lock().expect("no panic") = Arc::new(rule);
    }

    /// From now on, passes everything on.
    pub(crate) fn pass(&self) {
        self.apply(|_| Action::Pass);
    }
}

/// One connection, until either side closes it.
async fn relay(client: TcpStream, server: u16, rule: &Mutex<Rule>) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (commands, mut to_client) = client.into_split();
    let (replies, mut to_server) = server.into_split();
    let (mut commands, mut replies) = (BufReader::new(commands), BufReader::new(replies));
    let (chosen, mut actions) = mpsc::unbounded_channel();
    let forward = async {
        loop {
            let command = read_value(&mut commands).await?;
            if matches!(&*name(&command), "PSYNC" | "SUBSCRIBE") {
                to_server.write_all(&command).await?;
                let _ = chosen.send(Step::PassAll);
                return copy_buf(&mut commands, &mut to_server).await.map(|_| ());
            }
            let rule = Arc::clone(&rule.lock().expect("no panic"));
            let action = rule(&name(&command));
            if !matches!(action, Action::Reply(_)) {
                to_server.write_all(&command).await?;
            }
            // The other half runs for as long as this one.
            let _ = chosen.send(Step::Answer(action, Instant::now()));
        }
    };
    let answer = async {
        while let Some(step) = actions.recv().await {
            let Step::Answer(action, came) = step else {
                return copy_buf(&mut replies, &mut to_client).await.map(|_| ());
            };
            let reply = match action {
                Action::Reply(reply) => reply.as_bytes().to_vec(),
                Action::Pass | Action::Delay(_) => read_value(&mut replies).await?,
                Action::Duplicate => read_value(&mut replies).await?.repeat(2),
                Action::Hang => std::future::pending().await,
            };
            if let Action::Delay(by) = action {
                sleep_until(came + by).await;
            }
            to_client.write_all(&reply).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = forward => ended,
        ended = answer => ended,
    }
}

/// A command's name.
fn name(command: &[u8]) -> String {
    let name = command.split(|&byte| byte == b'\n').nth(2).unwrap_or_default();
    String::from_utf8_lossy(name).trim().to_ascii_uppercase()
}

/// The bytes of one value: a command or a reply.
async fn read_value(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut raw, mut missing) = (Vec::new(), 1);
    while missing > 0 {
        let start = raw.len();
        if from.read_until(b'\n', &mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = String::from_utf8_lossy(&raw[start + 1..]).trim().parse::<i64>().unwrap_or(0);
        let length = usize::try_from(length).ok();
        missing -= 1;
        match (raw[start], length) {
            (b'*', Some(length)) => missing += length,
            (b'$', Some(length)) => {
                let end = raw.len();
                raw.resize(end + length + 2, 0);
                from.read_exact(&mut raw[end..]).await?;
            }
            _ => {}
        }
    }
    Ok(raw)
}
