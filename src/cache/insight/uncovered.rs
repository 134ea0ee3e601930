//! Requests that no route covers, by method and path, and what a route there would have saved.

use std::collections::HashMap;

/// The most patterns of paths; all further ones are counted together.
const MAX_PATTERNS: usize = 1000;
/// The most bodies that are remembered for one pattern.
const MAX_BODIES: usize = 512;
/// The most segments of a path that are told apart.
const MAX_SEGMENTS: usize = 12;

/// The pattern of all further paths.
const OTHERS: &str = "/**";

/// What a body is, as its type says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyType {
    #[default]
    Other,
    Json,
    Stream,
}

/// A request that no route covers, and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UncoveredRequest<'a> {
    pub(crate) method: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    pub(crate) question: BodyType,
    pub(crate) answer: BodyType,
    /// Whether the answer was a 200.
    pub(crate) succeeded: bool,
    /// A hash of the query and the body; `None` if the body was not read whole.
    pub(crate) hash: Option<u64>,
}

/// What came to one pattern.
#[derive(Clone, Debug, Default)]
struct Pattern {
    requests: u64,
    /// Requests whose query and body had come before.
    repeats: u64,
    questions_in_json: u64,
    answers_in_json: u64,
    streams: u64,
    bodies: std::collections::HashSet<u64>,
}

/// A pattern as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UncoveredPath {
    pub(crate) method: String,
    /// With `{x}` for segments that vary.
    pub(crate) path: String,
    pub(crate) requests: u64,
    pub(crate) repeats: u64,
    pub(crate) question: BodyType,
    pub(crate) answer: BodyType,
}

/// All patterns.
#[derive(Debug, Default)]
pub(crate) struct Uncovered(HashMap<(String, String), Pattern>);

impl Uncovered {
    pub(crate) fn add(&mut self, request: &UncoveredRequest<'_>) {
        let mut key = (request.method.to_owned(), path_pattern(request.path));
        if !self.0.contains_key(&key) && self.0.len() >= MAX_PATTERNS {
            key = ("*".to_owned(), OTHERS.to_owned());
        }
        let pattern = self.0.entry(key).or_default();
        pattern.requests += 1;
        pattern.questions_in_json += u64::from(request.question == BodyType::Json);
        pattern.answers_in_json += u64::from(request.answer == BodyType::Json);
        pattern.streams += u64::from(request.answer == BodyType::Stream);
        let Some(hash) = request.hash.filter(|_| request.succeeded) else { return };
        if pattern.bodies.contains(&hash) {
            pattern.repeats += 1;
        } else if pattern.bodies.len() < MAX_BODIES {
            pattern.bodies.insert(hash);
        }
    }

    /// The patterns that would have saved the most, those first.
    pub(crate) fn report(&self) -> Vec<UncoveredPath> {
        let told = |((method, path), pattern): (&(String, String), &Pattern)| UncoveredPath {
            method: method.clone(),
            path: path.clone(),
            requests: pattern.requests,
            repeats: pattern.repeats,
            question: most(pattern.questions_in_json, 0, pattern.requests),
            answer: most(pattern.answers_in_json, pattern.streams, pattern.requests),
        };
        let mut all: Vec<_> = self.0.iter().map(told).collect();
        all.sort_by(|a, b| {
            (b.repeats, b.requests, &a.path, &a.method).cmp(&(a.repeats, a.requests, &b.path, &b.method))
        });
        all
    }
}

/// What most of `all` are.
fn most(json: u64, streams: u64, all: u64) -> BodyType {
    if 2 * streams >= all && streams > 0 {
        BodyType::Stream
    } else if 2 * json >= all && json > 0 {
        BodyType::Json
    } else {
        BodyType::Other
    }
}

/// The path with `{id}` for each segment that looks like an id.
pub(crate) fn path_pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let mut names = 0;
    for (number, segment) in path.split('/').skip(1).enumerate() {
        if number == MAX_SEGMENTS {
            pattern.push_str("/**");
            break;
        }
        pattern.push('/');
        if is_id(segment) {
            names += 1;
            let name = if names == 1 { "{id}".to_owned() } else { format!("{{id{names}}}") };
            pattern.push_str(&name);
        } else {
            pattern.push_str(segment);
        }
    }
    if pattern.is_empty() { "/".to_owned() } else { pattern }
}

/// Whether a segment is more likely to be an id, a name or a secret than a word of the API.
fn is_id(segment: &str) -> bool {
    let is_version = segment
        .strip_prefix('v')
        .is_some_and(|rest| rest.len() <= 8 && rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_word =
        segment.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.' | b':'));
    !segment.is_empty() && !is_version && (!is_word || segment.len() > 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(path: &'a str, hash: u64) -> UncoveredRequest<'a> {
        UncoveredRequest {
            method: "POST",
            path,
            question: BodyType::Json,
            answer: BodyType::Stream,
            succeeded: true,
            hash: Some(hash),
        }
    }

    #[test]
    fn what_varies_in_a_path_is_found() {
        for (path, expected) in [
            ("/chat", "/chat"),
            ("/v1/x/0b9c3a52-1111-4222-8333-444455556666/run", "/v1/x/{id}/run"),
            ("/api/v2beta1/users/alice%40example.com/7", "/api/v2beta1/users/{id}/{id2}"),
            ("/a/b-c_d.json", "/a/b-c_d.json"),
            ("/models/gemini:generate", "/models/gemini:generate"),
            ("/t/aVeryLongTokenWithLettersAloneInItWhoKnows", "/t/{id}"),
            ("/", "/"),
            ("/a/", "/a/"),
            (
                "/1/2/3/4/5/6/7/8/9/10/11/12/13/14",
                "/{id}/{id2}/{id3}/{id4}/{id5}/{id6}/{id7}/{id8}/{id9}/{id10}/{id11}/{id12}/**",
            ),
        ] {
            assert_eq!(path_pattern(path), expected, "{path}");
        }
    }

    #[test]
    fn what_came_again_is_counted() {
        let mut uncovered = Uncovered::default();
        for (path, hash) in [("/ask/1", 1), ("/ask/2", 1), ("/ask/1", 2), ("/other", 1)] {
            uncovered.add(&request(path, hash));
        }
        uncovered.add(&UncoveredRequest { succeeded: false, ..request("/ask/1", 2) });
        uncovered.add(&UncoveredRequest { hash: None, ..request("/ask/1", 2) });
        let report = uncovered.report();
        let first = UncoveredPath {
            method: "POST".to_owned(),
            path: "/ask/{id}".to_owned(),
            requests: 5,
            repeats: 1,
            question: BodyType::Json,
            answer: BodyType::Stream,
        };
        assert_eq!((report.len(), &report[0]), (2, &first));
    }

    #[test]
    fn patterns_and_bodies_are_bounded() {
        let mut uncovered = Uncovered::default();
        let word = |number: usize| {
            format!(
                "/{}",
                (0..4).map(|at| (b'a' + (number >> (3 * at) & 7) as u8) as char).collect::<String>()
            )
        };
        for number in 0..2 * MAX_PATTERNS as u64 {
            uncovered.add(&request(&word(number as usize), number));
            uncovered.add(&request("/a", number));
        }
        let report = uncovered.report();
        assert!(report.len() <= MAX_PATTERNS + 1, "{}", report.len());
        assert_eq!(report.iter().map(|path| path.requests).sum::<u64>(), 4 * MAX_PATTERNS as u64);
        assert!(uncovered.0.values().all(|pattern| pattern.bodies.len() <= MAX_BODIES));
    }
}
