//! The two texts: OpenMetrics, and the older one of Prometheus (version 0.0.4).

use http::{HeaderMap, header};

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0 (prometheus.io/docs/specs/om/open_metrics_spec).
    OpenMetrics,
    /// Prometheus's own (prometheus.io/docs/instrumenting/exposition_formats).
    Prometheus,
}

impl Format {
    /// OpenMetrics for those who accept it, and the other one for all others.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut media = accepted.flat_map(|value| value.split(','));
        let takes = |media: &str| {
            let mut parts = media.split(';').map(str::trim);
            let is_refused =
                |part: &str| matches!(part.strip_prefix("q="), Some("0" | "0.0" | "0.00" | "0.000"));
            parts.next() == Some("application/openmetrics-text") && !parts.any(is_refused)
        };
        if media.any(takes) { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// The page in this format, from OpenMetrics.
    pub(super) fn of(self, page: String) -> String {
        match self {
            Self::OpenMetrics => page,
            Self::Prometheus => older(&page),
        }
    }
}

/// In the older text, a counter's `_total` is a part of its family's name, and nothing says where the page ends.
fn older(page: &str) -> String {
    let mut counters = Vec::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut text = String::with_capacity(page.len() + 1024);
    for line in page.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(word @ ("HELP" | "TYPE")), Some(name), Some(rest))
                if counters.contains(&name) =>
            {
                text.extend(["# ", word, " ", name, "_total ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn who_accepts_open_metrics_gets_it() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            Format::accepted(&headers)
        };
        for (accept, expected) in [
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text; version=0.0.1", Format::OpenMetrics),
            ("application/openmetrics-text;q=0, text/plain", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/html,application/xhtml+xml", Format::Prometheus),
        ] {
            assert_eq!(format(accept), expected, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Prometheus);
    }

    #[test]
    fn a_counter_has_its_whole_name() {
        let page = "# HELP a_b Of a.\n# TYPE a_b counter\na_b_total{x=\"# TYPE a_b counter\"} 1\n# HELP c It is c.\n# TYPE c gauge\nc 2\n# EOF\n";
        let expected = "# HELP a_b_total Of a.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE a_b counter\"} 1\n# HELP c It is c.\n# TYPE c gauge\nc 2\n";
        assert_eq!(older(page), expected);
    }
}
