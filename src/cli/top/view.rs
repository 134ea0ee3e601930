//! How `top` looks: what it knows, as text on a screen of any size.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::{figures::Share, state::State};
use crate::{
    cli::{
        requests::{Ended, show_millis},
        stats::{grouped, show_seconds},
    },
    telemetry::{stats::human_bytes, terminal::escaped},
};

/// From this width on, two tables are beside each other.
const TWO_COLUMNS: u16 = 72;

/// How many lines a table has below its head.
const ROWS: u16 = 5;

/// Draws everything; `unix` are the seconds on the clock.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, unix: f64) {
    let area = frame.area();
    // The live requests get what is left, and at least three lines.
    let (tables, reasons) = (area.height >= 15, area.height >= 21);
    let height = |shown: bool| Constraint::Length(if shown { 1 + ROWS } else { 0 });
    let [title, figures, shares, why, live] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(ROWS),
        height(tables),
        height(reasons),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(title_line(state, unix)), title);
    pair(frame, figures, (counts(state, unix), times(state, unix)));
    pair(frame, shares, (routes(state), kinds(state)));
    pair(frame, why, (reasons_of(state, unix, true), reasons_of(state, unix, false)));
    frame.render_widget(Paragraph::new(requests(state, live)), live);
}

/// Two tables beside each other, or the first one alone where there is no room for both.
fn pair(frame: &mut Frame<'_>, area: Rect, (left, right): (Vec<Line<'_>>, Vec<Line<'_>>)) {
    if area.width < TWO_COLUMNS {
        frame.render_widget(Paragraph::new(left), area);
        return;
    }
    let [first, _, second] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(left), first);
    frame.render_widget(Paragraph::new(right), second);
}

fn title_line(state: &State, unix: f64) -> Line<'static> {
    let page = state.page();
    let version = page.label("sidecache_build_info", "version").unwrap_or_default();
    let name = Span::from(format!("sidecache {version}")).bold();
    let about = match &state.problem {
        Some(problem) => Span::styled(format!("  {problem}; trying again"), Style::new().fg(Color::Red)),
        None => Span::from(format!(
            "  {}  up {}  {}",
            state.url,
            show_seconds(state.uptime(unix)),
            store(state).unwrap_or_default()
        )),
    };
    Line::from(vec![name, about])
}

/// The store's state in some words.
fn store(state: &State) -> Option<String> {
    let page = state.page();
    let name = page.label("sidecache_store_up", "store")?;
    let up = page.value("sidecache_store_up")? > 0.0;
    let entries = page.value("sidecache_entries").map(|entries| format!(" {}", grouped(entries as u64)));
    let bytes = page.value("sidecache_entry_bytes").map(|bytes| format!(" in {}", human_bytes(bytes as u64)));
    let state = if up { "" } else { " out of reach" };
    Some(format!("{name}:{state}{}{}", entries.unwrap_or_default(), bytes.unwrap_or_default()))
}

fn head(text: String) -> Line<'static> {
    Line::from(text).style(Style::new().bold().underlined())
}

fn counts(state: &State, unix: f64) -> Vec<Line<'static>> {
    let (now, all) = (state.now(), state.since_start(unix));
    let row = |label: &str, now: String, all: String| Line::from(format!("{label:<12}{now:>11}{all:>14}"));
    let count = |count: f64| grouped(count as u64);
    vec![
        head(format!("{:<12}{:>11}{:>14}", "", "last 10 s", "since start")),
        row("hit rate", percent(now.hit_rate(&[])), percent(all.hit_rate(&[]))).bold(),
        row("requests/s", rate(now.requests_per_second()), rate(all.requests_per_second())),
        row("hits", count(now.hits(&[])), count(all.hits(&[]))),
        row("misses", count(now.misses(&[])), count(all.misses(&[]))),
    ]
}

fn times(state: &State, unix: f64) -> Vec<Line<'static>> {
    let (now, all) = (state.now(), state.since_start(unix));
    let row = |label: &str, quantile: f64, cache: &str| {
        let shown = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |time| show_millis(time * 1000.0));
        let (now, all) = (now.quantile(quantile, cache), all.quantile(quantile, cache));
        Line::from(format!("{label:<12}{:>11}{:>14}", shown(now), shown(all)))
    };
    vec![
        head(format!("{:<12}{:>11}{:>14}", "latency", "last 10 s", "since start")),
        row("hits p50", 0.5, "hit"),
        row("hits p99", 0.99, "hit"),
        row("misses p50", 0.5, "miss"),
        row("misses p99", 0.99, "miss"),
    ]
}

fn routes(state: &State) -> Vec<Line<'static>> {
    shares("route", "req/s", state.now().routes())
}

fn kinds(state: &State) -> Vec<Line<'static>> {
    shares("kind", "lookups/s", state.now().kinds())
}

fn shares(name: &str, rates: &str, shares: Vec<Share>) -> Vec<Line<'static>> {
    let row = |share: &Share| {
        let name = cut(&escaped(&share.name), 18);
        Line::from(format!("{name:<18}{:>10}{:>9}", rate(share.per_second), percent(share.hit_rate)))
    };
    let rows = shares.iter().take(ROWS.into()).map(row);
    [head(format!("{name:<18}{rates:>10}{:>9}", "hit rate"))].into_iter().chain(rows).collect()
}

/// The reasons not to store, or to bypass the store.
fn reasons_of(state: &State, unix: f64, not_stored: bool) -> Vec<Line<'static>> {
    let (name, family) = match not_stored {
        true => ("not stored", "sidecache_not_stored_total"),
        false => ("bypassed", "sidecache_bypassed_total"),
    };
    let reasons = state.since_start(unix).reasons(family);
    let row = |(reason, count): &(String, f64)| {
        Line::from(format!("{:<25}{:>12}", cut(&escaped(reason), 25), grouped(*count as u64)))
    };
    let rows = reasons.iter().take(ROWS.into()).map(row);
    [head(format!("{name:<25}{:>12}", "since start"))].into_iter().chain(rows).collect()
}

fn requests(state: &State, area: Rect) -> Vec<Line<'static>> {
    let title = match (&state.not_told, state.missed) {
        (Some(why), _) => format!("requests: {why}"),
        (None, 0) => "requests, the newest first".to_owned(),
        (None, missed) => format!("requests, the newest first; {} not shown", grouped(missed)),
    };
    let rows = state.requests.iter().take(usize::from(area.height.saturating_sub(1))).map(request);
    let empty = state.requests.is_empty() && state.not_told.is_none();
    let hint = empty.then(|| Line::from("none yet: point a client at sidecache").dim());
    let room = usize::from(area.width).saturating_sub(title.chars().count());
    let title = format!("{title}{:>room$}", if room > 8 { "q quits" } else { "" });
    [head(title)].into_iter().chain(rows).chain(hint).collect()
}

fn request(ended: &Ended) -> Line<'static> {
    let color = match &*ended.cache {
        "HIT" => Color::Green,
        "MISS" => Color::Yellow,
        "STALE" | "SIMILAR" | "PARTIAL" | "COALESCED" => Color::Cyan,
        _ => Color::Reset,
    };
    let status = if ended.status >= 500 { Color::Red } else { Color::Reset };
    Line::from(vec![
        Span::from(format!("{:.8} ", ended.clock())),
        Span::styled(format!("{:<9} ", escaped(&ended.cache)), Style::new().fg(color)),
        Span::styled(format!("{} ", ended.status), Style::new().fg(status)),
        Span::from(format!("{:>7} {} {}", ended.took(), escaped(&ended.method), escaped(&ended.path))),
        Span::from(format!("  {}", escaped(&ended.reason))).dim(),
    ])
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { grouped(per_second.round() as u64) }
}

/// At most so many characters, the last one a sign that there are more.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
