//! The curves of a simulation as an SVG: the hit rate by TTL, and by the size of the store. Pure.

use std::{fmt::Write, time::Duration};

use super::{
    replay::Ttl,
    rows::Rows,
    table::{show_bound, show_ttl},
};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
/// Where the axes are.
const LEFT: f64 = 56.0;
const RIGHT: f64 = WIDTH - 128.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = HEIGHT - 40.0;

/// Colours that are told apart without seeing red and green, on white.
const COLOURS: [&str; 5] = ["#0060a8", "#b34700", "#1b7a4b", "#7a3e9d", "#5a5a5a"];

/// A point of a curve: its place, its name, and the share of hits.
#[derive(Clone, Debug)]
struct Point {
    x: f64,
    label: String,
    rate: f64,
}

#[derive(Debug)]
struct Curve {
    name: String,
    points: Vec<Point>,
}

/// The picture: a panel for each of the two that has a curve.
pub(super) fn svg(rows: &Rows) -> String {
    let panels = [("hit rate by TTL", by_ttl(rows)), ("hit rate by the size of the store", by_size(rows))];
    let panels: Vec<_> = panels.into_iter().filter(|(_, curves)| !curves.is_empty()).collect();
    let height = HEIGHT * panels.len().max(1) as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>sidecache simulate</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (number, (title, curves)) in panels.iter().enumerate() {
        // To write to a String never fails, here and below.
        let _ = writeln!(out, "<g transform=\"translate(0 {})\">", HEIGHT * number as f64);
        panel(&mut out, title, curves, rows.measured.hit_rate());
        out += "</g>\n";
    }
    out + "</svg>\n"
}

/// A curve for each size.
fn by_ttl(rows: &Rows) -> Vec<Curve> {
    let mut curves = Vec::new();
    for row in &rows.simulated {
        let Ttl::Of(ttl) = row.setting.ttl else { continue };
        let name = show_bound(row.setting.max_memory);
        // A logarithm has no 0.
        let x = ttl.max(Duration::from_millis(1)).as_secs_f64().ln();
        add(&mut curves, name, Point { x, label: show_ttl(row.setting.ttl), rate: row.outcome.hit_rate() });
    }
    with_points(curves)
}

/// A curve for each TTL.
fn by_size(rows: &Rows) -> Vec<Curve> {
    let mut curves = Vec::new();
    for row in &rows.simulated {
        let Some(size) = row.setting.max_memory else { continue };
        let x = (size.max(1) as f64).ln();
        let label = show_bound(row.setting.max_memory);
        add(&mut curves, show_ttl(row.setting.ttl), Point { x, label, rate: row.outcome.hit_rate() });
    }
    with_points(curves)
}

fn add(curves: &mut Vec<Curve>, name: String, point: Point) {
    match curves.iter_mut().find(|curve| curve.name == name) {
        Some(curve) => curve.points.push(point),
        None => curves.push(Curve { name, points: vec![point] }),
    }
}

/// Those of `curves` with at least two points, from left to right.
fn with_points(mut curves: Vec<Curve>) -> Vec<Curve> {
    curves.retain(|curve| curve.points.len() > 1);
    for curve in &mut curves {
        curve.points.sort_by(|one, other| one.x.total_cmp(&other.x));
    }
    curves
}

fn panel(out: &mut String, title: &str, curves: &[Curve], measured: f64) {
    let all = || curves.iter().flat_map(|curve| &curve.points);
    let least = all().map(|point| point.x).fold(f64::INFINITY, f64::min);
    let most = all().map(|point| point.x).fold(f64::NEG_INFINITY, f64::max);
    let width = if most > least { most - least } else { 1.0 };
    let x = |point: &Point| LEFT + (point.x - least) / width * (RIGHT - LEFT);
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"22\" font-weight=\"bold\">{}</text>", escaped(title));
    for percent in [0, 25, 50, 75, 100] {
        let y = height_of(f64::from(percent) / 100.0);
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#dddddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let mut last = f64::NEG_INFINITY;
    let mut ticks: Vec<_> = all().collect();
    ticks.sort_by(|one, other| one.x.total_cmp(&other.x));
    for point in ticks {
        // Names that would be on each other are left out.
        if x(point) - last > 48.0 {
            last = x(point);
            let label = escaped(&point.label);
            let y = BOTTOM + 18.0;
            let _ = writeln!(out, "<text x=\"{last:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>");
        }
    }
    let y = height_of(measured);
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#000000\" stroke-dasharray=\"5 4\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\">measured</text>",
        RIGHT + 8.0,
        y + 4.0
    );
    for (curve, colour) in curves.iter().zip(COLOURS.into_iter().cycle()) {
        draw(out, curve, colour, &x);
    }
}

/// A line through the points of `curve`, with its name at its end.
fn draw(out: &mut String, curve: &Curve, colour: &str, x: &impl Fn(&Point) -> f64) {
    let places = curve.points.iter().map(|point| format!("{:.1},{:.1}", x(point), height_of(point.rate)));
    let places = places.collect::<Vec<_>>().join(" ");
    let _ =
        writeln!(out, "<polyline points=\"{places}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    for point in &curve.points {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"><title>{}: {:.2} %</title></circle>",
            x(point),
            height_of(point.rate),
            escaped(&point.label),
            point.rate * 100.0
        );
    }
    if let Some(point) = curve.points.last() {
        let (at, y, name) = (x(point) + 8.0, height_of(point.rate) - 6.0, escaped(&curve.name));
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{name}</text>");
    }
}

/// How far down a share of hits is.
fn height_of(rate: f64) -> f64 {
    BOTTOM - rate * (BOTTOM - TOP)
}

/// A text as XML has it, without characters that XML does not allow.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::simulate::{
        replay::{Outcome, Setting},
        rows::Row,
    };

    fn rows(settings: &[(Option<u64>, Option<u64>)]) -> Rows {
        let outcome = |hits| Outcome { hits, misses: 100 - hits, ..Outcome::default() };
        let simulated = settings.iter().zip(0..).map(|((ttl, max_memory), hits)| {
            let ttl = ttl.map_or(Ttl::AsLogged, |seconds| Ttl::Of(Duration::from_secs(seconds)));
            Row { setting: Setting { ttl, max_memory: *max_memory }, outcome: outcome(hits) }
        });
        Rows { measured: outcome(50), simulated: simulated.collect() }
    }

    /// Whether every element is closed, by the one that was opened last.
    fn is_well_formed(xml: &str) -> bool {
        let mut open = Vec::new();
        for piece in xml.split('<').skip(1) {
            let Some((tag, text)) = piece.split_once('>') else { return false };
            if text.contains('>') || tag.matches('"').count() % 2 != 0 {
                return false;
            }
            let name = tag.split(' ').next().unwrap_or_default();
            match (tag.strip_prefix('/'), tag.ends_with('/')) {
                (Some(name), _) if open.pop() != Some(name) => return false,
                (Some(_), _) | (None, true) => {}
                (None, false) => open.push(name),
            }
        }
        open.is_empty()
    }

    #[test]
    fn a_curve_goes_through_all_ttls_and_one_through_all_sizes() {
        let settings =
            [(Some(60), None), (Some(600), None), (Some(0), None), (None, Some(1)), (None, Some(1 << 20))];
        let picture = svg(&rows(&settings));
        assert!(is_well_formed(&picture), "{picture}");
        assert_eq!((picture.matches("<polyline").count(), picture.matches("<circle").count()), (2, 5));
        for text in ["hit rate by TTL", "size of the store", ">10m<", ">1MiB<", ">as logged<", ">no bound<"] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn one_point_is_no_curve() {
        for settings in [&[][..], &[(Some(60), None)], &[(Some(60), Some(1))]] {
            let picture = svg(&rows(settings));
            assert!(is_well_formed(&picture) && !picture.contains("<polyline"), "{picture}");
        }
    }

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a<b>&\"'\u{0}\u{1b}é"), "a&lt;b&gt;&amp;&quot;&#39;é");
        assert!(!is_well_formed("<a><b></a></b>") && !is_well_formed("<a>") && is_well_formed("<a><b/></a>"));
    }
}
