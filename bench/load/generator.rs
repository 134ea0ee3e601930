//! Many keep-alive connections that ask one question after the other, each as soon as its last answer is there.
//!
//! As `wrk` asks, for about a tenth more of the processor's time, but it is always there, can make each request another
//! one, and looks at the answers.

use std::{
    ops::Range,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

use crate::{answer::Answer, numbered_request::NumberedRequest};

/// Threads that the connections share.
const THREADS: usize = 2;

/// Who hears nothing this long is hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first of the questions that no hit is asked for.
const NEW: u64 = 1 << 32;

/// Which question is asked next.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    /// One of the first of them, by chance.
    Below(u64),
    /// One after the other.
    Next(Arc<Next>),
}

/// Questions that are asked one after the other, by all connections together.
#[derive(Debug)]
pub(crate) struct Next {
    asked: AtomicU64,
    /// How often each is asked.
    each: u64,
    end: u64,
}

impl Numbers {
    /// New ones without end, each `each` times.
    pub(crate) fn each(each: u64) -> Self {
        Self::Next(Arc::new(Next { asked: AtomicU64::new(NEW * each), each, end: u64::MAX }))
    }

    /// Each of them once.
    pub(crate) fn all(Range { start, end }: Range<u64>) -> Self {
        Self::Next(Arc::new(Next { asked: AtomicU64::new(start), each: 1, end }))
    }

    fn next(&self, random: &mut fastrand::Rng) -> Option<u64> {
        match self {
            Self::Below(end) => Some(random.u64(..end)),
            Self::Next(next) => {
                let number = next.asked.fetch_add(1, Ordering::Relaxed) / next.each;
                (number < next.end).then_some(number)
            }
        }
    }
}

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The port, on 127.0.0.1.
    pub(crate) port: u16,
    /// What is asked.
    pub(crate) question: NumberedRequest,
    /// Which of it.
    pub(crate) numbers: Numbers,
    /// Whether answers name their questions.
    pub(crate) is_answered: bool,
    /// Connections, on each of which one question is under way.
    pub(crate) connections: usize,
}

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What each answer took, from the request's first byte to the answer's last.
    pub(crate) times: Vec<Duration>,
    /// How many of them were none, or another question's.
    pub(crate) wrong: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

impl Load {
    /// Asks for as long as there are numbers, but not longer than `limit`.
    pub(crate) fn run(&self, limit: Duration) -> Heard {
        let barrier = &Barrier::new(THREADS.min(self.connections));
        let parts = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS.min(self.connections))
                .map(|thread| self.connections / THREADS + usize::from(thread < self.connections % THREADS))
                .map(|connections| scope.spawn(move || self.run_thread(connections, barrier, limit)))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread's answers")).collect::<Vec<_>>()
        });
        parts.into_iter().fold(Heard::default(), Heard::and)
    }

    fn run_thread(&self, connections: usize, barrier: &Barrier, limit: Duration) -> Heard {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        LocalSet::new().block_on(&runtime.expect("a runtime"), async {
            let mut streams = Vec::new();
            for _ in 0..connections {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
                stream.set_nodelay(true).expect("a socket without delay");
                streams.push(stream);
            }
            barrier.wait();
            let begun = Instant::now();
            let asking: Vec<_> = streams
                .into_iter()
                .map(|stream| tokio::task::spawn_local(self.clone().ask_on(stream, begun + limit)))
                .collect();
            let all = async {
                let mut heard = Heard::default();
                for one in asking {
                    heard = heard.and(one.await.expect("a connection's answers"));
                }
                Heard { took: begun.elapsed(), ..heard }
            };
            tokio::time::timeout(limit + PATIENCE, all).await.expect("answers in time")
        })
    }

    async fn ask_on(mut self, mut stream: TcpStream, deadline: Instant) -> Heard {
        let (mut heard, mut buffer) = (Heard::default(), Vec::with_capacity(64 * 1024));
        let mut random = fastrand::Rng::new();
        let mut asked = Instant::now();
        while asked < deadline
            && let Some(number) = self.numbers.next(&mut random)
        {
            self.question.set(number);
            stream.write_all(self.question.bytes()).await.expect("a request that is sent");
            buffer.clear();
            let answer = loop {
                let len = stream.read_buf(&mut buffer).await.expect("an answer");
                assert!(len > 0, "the connection was closed in the midst of an answer");
                if let Some(answer) = Answer::read(&buffer) {
                    break answer;
                }
            };
            let mark = self.is_answered.then(|| self.question.mark());
            heard.wrong += u64::from(!answer.is_right(mark));
            let now = Instant::now();
            heard.times.push(now - asked);
            asked = now;
        }
        heard
    }
}

impl Heard {
    fn and(mut self, other: Self) -> Self {
        self.times.extend(other.times);
        Self { wrong: self.wrong + other.wrong, took: self.took.max(other.took), ..self }
    }
}
