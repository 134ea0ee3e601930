//! The page for people: files that are compiled in, so that it needs nothing but this binary.
//!
//! They are the same for everybody and tell nothing, so they need no token: a browser cannot send one with its first
//! request. The page asks for it, and sends it with its calls.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header, request::Parts};

use super::{call::check_method, error::AdminError};
use crate::proxy::response::body::ResponseBody;

/// A file of the page.
#[derive(Debug)]
struct File {
    path: &'static str,
    media: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($path:literal => $file:literal, $media:literal;)*) => {
        [$(File { path: $path, media: $media, text: include_str!($file) },)*]
    };
}

const FILES: [File; 13] = files! {
    "/" => "index.html", "text/html; charset=utf-8";
    "/page/style.css" => "style.css", "text/css; charset=utf-8";
    "/page/main.js" => "main.js", "text/javascript; charset=utf-8";
    "/page/api.js" => "api.js", "text/javascript; charset=utf-8";
    "/page/dom.js" => "dom.js", "text/javascript; charset=utf-8";
    "/page/words.js" => "words.js", "text/javascript; charset=utf-8";
    "/page/chart.js" => "chart.js", "text/javascript; charset=utf-8";
    "/page/charts.js" => "charts.js", "text/javascript; charset=utf-8";
    "/page/overview.js" => "overview.js", "text/javascript; charset=utf-8";
    "/page/suggest.js" => "suggest.js", "text/javascript; charset=utf-8";
    "/page/meaning.js" => "meaning.js", "text/javascript; charset=utf-8";
    "/page/entries.js" => "entries.js", "text/javascript; charset=utf-8";
    "/page/live.js" => "live.js", "text/javascript; charset=utf-8";
};

const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // After an upgrade, no file of the old version is used with one of the new.
    (header::CACHE_CONTROL, "no-store"),
];

/// The response with the file that the request names; `None` if it names no file of the page.
///
/// # Errors
/// 405 for methods other than `GET` and `HEAD`.
pub(super) fn file(parts: &Parts) -> Option<Result<Response<ResponseBody>, AdminError>> {
    let file = FILES.iter().find(|file| file.path == parts.uri.path())?;
    Some(check_method(&parts.method, "GET, HEAD").map(|()| response(file)))
}

fn response(file: &File) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::from(Bytes::from_static(file.text.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// The most bytes of all files together.
    const MAX_BYTES: usize = 150 * 1024;

    #[test]
    fn all_files_are_served_and_take_150_kib_at_most() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let found: BTreeSet<String> = fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .filter(|name| !name.ends_with(".rs"))
            .collect();
        let name = |file: &File| match file.path {
            "/" => "index.html".to_owned(),
            path => path.trim_start_matches("/page/").to_owned(),
        };
        assert_eq!(FILES.iter().map(name).collect::<BTreeSet<_>>(), found);
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes <= MAX_BYTES, "{bytes}");
    }

    #[test]
    fn no_file_names_another_host() {
        for file in &FILES {
            // The name of SVG, and an address that the page makes of what it is told.
            let text = file.text.replace("http://www.w3.org/2000/svg", "").replace("`http://${", "");
            for word in ["src=\"//", "http://", "https://", "ws://", "wss://", "@import", "url("] {
                assert!(!text.contains(word), "{}: {word}", file.path);
            }
        }
    }

    /// Texts of requests stay texts: nothing in the scripts makes markup or code of a text.
    #[test]
    fn no_script_makes_markup_or_code_of_a_text() {
        for file in &FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "setHTML",
                "document.write",
                "createContextualFragment",
                "DOMParser",
                "srcdoc",
                "eval(",
                "Function(",
                "setTimeout(\"",
                "javascript:",
                "onclick=",
                "onerror=",
                "style=\"",
                "<style",
            ] {
                assert!(!file.text.contains(word), "{}: {word}", file.path);
            }
        }
    }

    /// Each file that another one asks for is there.
    #[test]
    fn what_files_ask_for_is_served() {
        let mut asked = BTreeSet::from(["/".to_owned()]);
        for file in &FILES {
            let quoted = file.text.split('"').skip(1).step_by(2);
            asked.extend(quoted.clone().filter(|text| text.starts_with("/page/")).map(str::to_owned));
            asked.extend(
                quoted.filter_map(|text| text.strip_prefix("./")).map(|name| format!("/page/{name}")),
            );
        }
        assert_eq!(asked, FILES.iter().map(|file| file.path.to_owned()).collect());
    }
}
