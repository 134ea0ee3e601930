//! `sidecache top`: what a running sidecache does now, on the whole terminal.
//!
//! It asks for `/metrics` each second and reads `/requests` along. `metrics` reads a page, `figures` tells what happened
//! between two, `state` is all that is known, `view` draws it, and `screen` is the terminal.

mod figures;
mod metrics;
mod screen;
mod state;
mod view;

use std::{
    convert::Infallible,
    io::{self, IsTerminal},
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc::{Receiver, Sender, channel},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::{
    metrics::Metrics,
    screen::{Input, Screen},
    state::{News, State},
};
use super::{
    Exit,
    client::{AdminCall, AdminListener, admin_url},
    requests::Requests,
};
use crate::{config::Config, time::unix_seconds};

/// The pause between two scrapes, and before the next attempt to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a scrape may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The shortest time between two pictures.
const FRAME: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    listener: AdminListener,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    if !io::stdout().is_terminal() {
        return Exit::failure("top needs a terminal; elsewhere, there is `sidecache stats --watch`");
    }
    let url = arguments.listener.url();
    let first = match scrape(url, config).await {
        Ok(page) => page,
        Err(error) => return Exit::failure(error),
    };
    let mut state = State::new(shown_url(url, config), Instant::now(), first);
    let (sender, mut news) = channel(256);
    let ended = match Screen::open() {
        Ok(mut screen) => select! {
            ended = show(&mut screen, &mut state, &mut news) => ended,
            never = scrape_on(url, config, &sender) => match never {},
            never = read_on(url, config, &sender) => match never {},
        },
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => Exit::success(String::new()),
        Err(error) => Exit::failure(format!("the terminal: {error}")),
    }
}

/// Draws what is learned, until the user quits.
async fn show(screen: &mut Screen, state: &mut State, news: &mut Receiver<News>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_new = true;
    loop {
        select! {
            input = screen.inputs.recv() => match input {
                Some(Input::Quit) | None => return Ok(()),
                Some(Input::Other) => is_new = true,
            },
            Some(learned) = news.recv() => {
                state.learn(Instant::now(), learned);
                is_new = true;
            }
            _ = frames.tick(), if is_new => {
                let unix = unix_seconds(SystemTime::now());
                screen.terminal.draw(|frame| view::draw(frame, state, unix))?;
                is_new = false;
            }
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

/// The listener as the screen names it.
fn shown_url(url: Option<&str>, config: &Config) -> String {
    admin_url(url, config).unwrap_or_default()
}

async fn scrape(url: Option<&str>, config: &Config) -> Result<Metrics, String> {
    let call = AdminCall { url, path: "/metrics", body: None, answer_member: "" };
    match timeout(PATIENCE, call.text(config, "text/plain")).await {
        Ok(page) => page.map(|page| Metrics::parse(&page)),
        Err(_) => Err(format!("no answer from {} in time", shown_url(url, config))),
    }
}

async fn scrape_on(url: Option<&str>, config: &Config, news: &Sender<News>) -> Infallible {
    loop {
        sleep(PAUSE).await;
        // The receiver lives as long as this, here and below.
        let _ = news.send(News::Scraped(scrape(url, config).await)).await;
    }
}

async fn read_on(url: Option<&str>, config: &Config, news: &Sender<News>) -> Infallible {
    loop {
        match Requests::open(url, &[], config).await {
            Ok(mut requests) => {
                while let Some(told) = requests.next().await {
                    let _ = news.send(News::Told(told)).await;
                }
            }
            Err(error) => {
                let _ = news.send(News::NotTold(error)).await;
            }
        }
        sleep(PAUSE).await;
    }
}
