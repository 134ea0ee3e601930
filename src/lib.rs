//! A caching sidecar reverse proxy for RAG and LLM services.
//!
//! It stands before a running service. A question that was answered before is answered from the store, the same
//! question asked at the same moment joins the answer that is running, and everything else goes on to the service,
//! streams event by event. `docs/ARCHITECTURE.md` follows a request through these modules; the binary is [`cli`] and
//! little else. To run a proxy inside another program:
//!
//! ```no_run
//! use sidecache::{app::App, config::{Inputs, load}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let flags = vec![("upstream.url", "http://127.0.0.1:8000".to_owned())];
//! let loaded = load(&Inputs { flags, ..Inputs::default() })?;
//! let app = App::bind(loaded.config, None).await?;
//! app.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! From the top down.
//!
//! | layer | modules |
//! | --- | --- |
//! | the command line | [`cli`] |
//! | composition | [`app`], from a [`config`] to a running proxy and its end |
//! | what answers | [`server`] accepts, and serves [`promptly`], with one [`alarm`] a connection small writes in one piece ([`gather`]) and clients that have sent all ([`half_close`]); [`proxy`] decides, on one page; [`admin`] and [`health`] tell operators |
//! | the ways a request goes | [`lookup`] asks the store; [`ask`] leads or follows, and [`fill`] asks the upstream once it is this replica's [`turn`], [`carried`] along by the request; [`verdict`] says what the answer is worth; [`keep`] stores what came whole; [`serve`] replies from the store; [`follow`] is how all of them obey the upstream where a route says so; [`retiring`] and [`talk`] see to it that what changed is retired; a [`question`] is what they all need; [`embed`] goes them for each input of a batch; [`pass`] and [`tunnel`] send on what nothing is cached for; [`normalize`] puts the upstream's errors into our form |
//! | effects | [`store`], [`upstream`], [`flight`] and [`flights`] (answers while they arrive), [`edited`], [`paced`], [`body`], [`exchange`], [`log`], [`stats`], [`memory`], [`memo`] (what bodies said), [`caller`] (what a connection's last head said), [`standing`] (whose credentials are good), [`cors`] (whose pages may read), [`generations`] (what was retired), [`state`] |
//! | rules, pure | [`way`] (which one a request goes), [`route`] and its [`pattern`], [`rfc9111`], [`conditional`], [`range`] and [`cache_control`], [`admit`], which puts together what a [`heading`] and a [`reading`] of a body say, [`key`] and its [`namespace`], [`normal`] and [`json`], [`sealing`], [`headers`], [`per_call`], [`location`], [`policy`], [`unfinished`], [`entry`], [`packed`] and in its [`envelope`], [`compression`], [`recording`], [`batch`], [`resource`], [`tags`], [`table`], [`glob`], [`reply`], [`report`] (what is told of the cache), [`guard`], [`forwarded`], [`error`], [`time`] and its [`digits`], and in [`dialect`] what bodies mean |

pub mod admin;
pub mod admit;
pub mod alarm;
pub mod app;
pub mod ask;
pub mod batch;
pub mod body;
pub mod cache_control;
pub mod caller;
pub mod carried;
pub mod cli;
pub mod compression;
pub mod conditional;
pub mod config;
pub mod cors;
pub mod dialect;
pub mod digits;
pub mod edited;
pub mod embed;
pub mod entry;
pub mod envelope;
pub mod error;
pub mod exchange;
pub mod fill;
pub mod flight;
pub mod flights;
pub mod follow;
pub mod forwarded;
pub mod gather;
pub mod generations;
pub mod glob;
pub mod guard;
pub mod half_close;
pub mod headers;
pub mod heading;
pub mod health;
pub mod json;
pub mod keep;
pub mod key;
pub mod location;
pub mod log;
pub mod lookup;
pub mod memo;
pub mod memory;
pub mod namespace;
pub mod normal;
pub mod normalize;
pub mod paced;
pub mod packed;
pub mod pass;
pub mod pattern;
pub mod per_call;
pub mod policy;
pub mod promptly;
pub mod proxy;
pub mod question;
pub mod range;
pub mod reading;
pub mod recording;
pub mod reply;
pub mod report;
pub mod resource;
pub mod retiring;
pub mod rfc9111;
pub mod route;
pub mod sealing;
pub mod serve;
pub mod server;
pub mod standing;
pub mod state;
pub mod stats;
pub mod store;
pub mod table;
pub mod tags;
pub mod talk;
pub mod time;
pub mod tunnel;
pub mod turn;
pub mod unfinished;
pub mod upstream;
pub mod verdict;
pub mod way;
