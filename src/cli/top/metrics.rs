//! What `/metrics` says, read from the text of Prometheus. Pure.

use std::collections::BTreeMap;

/// A label and the value that it must have.
pub(super) type Wanted<'a> = &'a [(&'a str, &'a str)];

/// One page.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// A page without a sample.
    pub(super) const EMPTY: Self = Self(Vec::new());

    /// Reads a page. Lines that are no samples are left out.
    pub(super) fn parse(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(parse_sample).collect())
    }

    fn of<'s>(&'s self, name: &str, wanted: Wanted<'_>) -> impl Iterator<Item = &'s Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && wanted.iter().all(|(label, value)| sample.label(label).is_some_and(|own| own == *value))
        })
    }

    /// The sum of all series of `name` with these labels.
    pub(super) fn sum(&self, name: &str, wanted: Wanted<'_>) -> f64 {
        self.of(name, wanted).map(|sample| sample.value).sum()
    }

    /// The same for each value of `label`.
    pub(super) fn sums_by(&self, name: &str, label: &str, wanted: Wanted<'_>) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name, wanted) {
            *sums.entry(sample.label(label).unwrap_or_default().to_owned()).or_default() += sample.value;
        }
        sums
    }

    /// The value of a label of the first series of `name`.
    pub(super) fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.of(name, &[]).find_map(|sample| sample.label(label))
    }

    /// The value of the first series of `name`, if there is one.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.of(name, &[]).map(|sample| sample.value).next()
    }

    /// The buckets of all histograms of `name` with these labels, in one: upper bounds, lowest first, and how many are
    /// at most that.
    pub(super) fn buckets(&self, name: &str, wanted: Wanted<'_>) -> Vec<(f64, f64)> {
        let sums = self.sums_by(&format!("{name}_bucket"), "le", wanted);
        let bound = |text: &str| if text == "+Inf" { Some(f64::INFINITY) } else { text.parse().ok() };
        let mut buckets: Vec<_> =
            sums.into_iter().filter_map(|(text, count)| Some((bound(&text)?, count))).collect();
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        buckets
    }
}

impl Sample {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Reads `name{label="value",…} number`.
fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = parse_value(after)?;
            labels.push((label.trim_start_matches(',').to_owned(), value));
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// Reads a label's value up to its quote; returns what follows.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn samples_are_read_and_other_lines_are_not() {
        let metrics = Metrics::parse(
            "# HELP a b\n# TYPE a counter\na{route=\"x\",kind=\"q\"} 2\na{route=\"POST /**/\\\"}\\\\\\n\",kind=\"q\"} 3\n\
             a{route=\"x\",kind=\"r\"} 4 1395066363000\nb 1.5\nbroken{\nbroken{x=\"\nbroken\nbroken x\n\n",
        );
        assert_eq!(metrics.0.len(), 4);
        assert_eq!(metrics.sum("a", &[]), 9.0);
        assert_eq!(metrics.sum("a", &[("route", "x"), ("kind", "q")]), 2.0);
        assert_eq!(metrics.sum("a", &[("route", "POST /**/\"}\\\n")]), 3.0);
        assert_eq!(metrics.sums_by("a", "kind", &[]), BTreeMap::from([("q".into(), 5.0), ("r".into(), 4.0)]));
        assert_eq!(
            (metrics.value("b"), metrics.value("c"), metrics.label("a", "kind")),
            (Some(1.5), None, Some("q"))
        );
    }

    #[test]
    fn buckets_are_added_and_sorted_by_their_bounds() {
        let metrics = Metrics::parse(
            "t_bucket{le=\"10.0\",k=\"a\"} 3\nt_bucket{le=\"+Inf\",k=\"a\"} 4\nt_bucket{le=\"2.0\",k=\"a\"} 1\n\
             t_bucket{le=\"2.0\",k=\"b\"} 5\nt_bucket{le=\"10.0\",k=\"b\"} 5\nt_bucket{le=\"+Inf\",k=\"b\"} 5\n",
        );
        assert_eq!(metrics.buckets("t", &[]), [(2.0, 6.0), (10.0, 8.0), (f64::INFINITY, 9.0)]);
        assert_eq!(metrics.buckets("t", &[("k", "a")])[0], (2.0, 1.0));
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(page in "[a{}=\"\\\\, \n1#]*") {
            Metrics::parse(&page);
        }
    }
}
