//! Documents: reading them from a folder, keeping them with their index, and the endpoints over them.

use super::bm25::Index;
use super::http::{Failure, Reply, empty_reply, json_body, json_reply, percent_encode};
use super::{Service, text};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

const MAX_ID: usize = 200;

/// A document to answer from. Its text is Markdown: each `## ` heading begins a passage.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// Reads all `.md` files of a folder, but not of folders in it. `ARCHITECTURE.md` gets the id `architecture`.
#[allow(dead_code, reason = "not every program that includes this module has files to read")]
pub(crate) fn load_docs(dir: &Path) -> io::Result<Vec<Document>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| load_doc(path)).collect()
}

/// Reads one file.
#[allow(dead_code, reason = "as above")]
pub(crate) fn load_doc(path: &Path) -> io::Result<Document> {
    let text = std::fs::read_to_string(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let title = text::title(&text).unwrap_or(&stem).to_owned();
    Ok(Document { id: text::slug(&stem), title, text })
}

/// The documents and the index over them, which always agree.
pub(super) struct Library {
    documents: BTreeMap<String, Document>,
    index: Index,
}

impl Library {
    pub(super) fn new(documents: Vec<Document>) -> Self {
        let mut library = Self { documents: BTreeMap::new(), index: Index::default() };
        for document in documents {
            library.insert(document);
        }
        library
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// How many documents and passages there are.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.documents.len(), self.index.count(None))
    }

    /// Whether the document is new.
    fn insert(&mut self, document: Document) -> bool {
        self.index.insert(&document);
        self.documents.insert(document.id.clone(), document).is_none()
    }

    fn remove(&mut self, id: &str) -> bool {
        self.index.remove(id);
        self.documents.remove(id).is_some()
    }

    fn metadata(&self, id: &str) -> Option<Metadata<'_>> {
        let document = self.documents.get(id)?;
        Some(Metadata {
            id: &document.id,
            title: &document.title,
            passages: self.index.count(Some(id)),
            length: document.text.len(),
            etag: document.etag(),
        })
    }
}

impl Document {
    /// Changes with the title and the text.
    fn etag(&self) -> String {
        // The title's length keeps `ab` + `c` and `a` + `bc` apart.
        let content = format!("{} {}{}", self.title.len(), self.title, self.text);
        blake3::hash(content.as_bytes()).to_hex().chars().take(16).collect()
    }
}

#[derive(Serialize)]
struct Metadata<'a> {
    id: &'a str,
    title: &'a str,
    passages: usize,
    /// In bytes.
    length: usize,
    etag: String,
}

impl Metadata<'_> {
    fn reply(&self, status: StatusCode) -> Reply {
        let mut reply = json_reply(status, self);
        set(&mut reply, header::ETAG, &format!("\"{}\"", self.etag));
        reply
    }
}

/// What `PUT` and `POST` take.
#[derive(Deserialize)]
struct Upload {
    id: Option<String>,
    title: Option<String>,
    text: String,
}

impl Upload {
    /// With the title from the text's own heading, and the id from the title, if they are not given.
    fn into_document(self) -> Result<Document, Failure> {
        let title = self.title.or_else(|| text::title(&self.text).map(str::to_owned));
        let id = self.id.or_else(|| title.as_deref().map(text::slug)).unwrap_or_default();
        if id.is_empty() || id.len() > MAX_ID {
            return Err(Failure::invalid(Some("id"), &format!("must have 1 to {MAX_ID} bytes")));
        }
        Ok(Document { title: title.unwrap_or_else(|| id.clone()), id, text: self.text })
    }
}

/// `GET /api/v1/documents`
pub(super) fn list(service: &Service) -> Reply {
    let library = service.library();
    let documents: Vec<_> = library.documents.keys().filter_map(|id| library.metadata(id)).collect();
    json_reply(StatusCode::OK, &BTreeMap::from([("documents", documents)]))
}

/// `GET /api/v1/documents/{id}`: its metadata, or 304 for who has it already.
pub(super) fn show(service: &Service, id: &str, headers: &HeaderMap) -> Result<Reply, Failure> {
    let library = service.library();
    let metadata = library.metadata(id).ok_or_else(not_found)?;
    let mut reply = metadata.reply(StatusCode::OK);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let quoted = format!("\"{}\"", metadata.etag);
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == quoted || tag.trim() == "*") {
        reply = empty_reply(StatusCode::NOT_MODIFIED);
        set(&mut reply, header::ETAG, &quoted);
    }
    Ok(reply)
}

/// `POST /api/v1/documents`: a new document.
pub(super) fn create(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let document = json_body::<Upload>(body)?.into_document()?;
    let id = document.id.clone();
    let mut library = service.library_mut();
    if library.documents.contains_key(&id) {
        return Err(Failure::detail(StatusCode::CONFLICT, "Document already exists"));
    }
    library.insert(document);
    let mut reply = library.metadata(&id).ok_or_else(not_found)?.reply(StatusCode::CREATED);
    set(&mut reply, header::LOCATION, &format!("/api/v1/documents/{}", percent_encode(&id)));
    Ok(reply)
}

/// `PUT /api/v1/documents/{id}`: a new document, or a new text for an old one.
pub(super) fn put(service: &Service, id: &str, body: &[u8]) -> Result<Reply, Failure> {
    let mut upload: Upload = json_body(body)?;
    if upload.id.get_or_insert_with(|| id.to_owned()) != id {
        return Err(Failure::invalid(Some("id"), "must be the one in the path"));
    }
    let document = upload.into_document()?;
    let mut library = service.library_mut();
    let status = if library.insert(document) { StatusCode::CREATED } else { StatusCode::OK };
    Ok(library.metadata(id).ok_or_else(not_found)?.reply(status))
}

/// `DELETE /api/v1/documents/{id}`
pub(super) fn delete(service: &Service, id: &str) -> Result<Reply, Failure> {
    if !service.library_mut().remove(id) {
        return Err(not_found());
    }
    Ok(empty_reply(StatusCode::NO_CONTENT))
}

fn not_found() -> Failure {
    Failure::detail(StatusCode::NOT_FOUND, "Document not found")
}

/// What is set here is ASCII, and so always a header's value.
fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(json: &str) -> Result<Document, Failure> {
        json_body::<Upload>(json.as_bytes())?.into_document()
    }

    #[test]
    fn an_upload_names_itself() {
        let document = upload(r##"{"text": "# Running it\nSo."}"##).expect("a document");
        assert_eq!((document.id.as_str(), document.title.as_str()), ("running-it", "Running it"));
        assert!(upload(r#"{"text": "no name"}"#).is_err());
        assert!(upload(r#"{"id": "x"}"#).is_err());
    }

    #[test]
    fn a_changed_text_changes_the_etag_and_the_passages() {
        let document = |text: &str| Document { id: "a".into(), title: "A".into(), text: text.into() };
        let mut library = Library::new(vec![document("one")]);
        let before = library.metadata("a").expect("there").etag;
        assert!(!library.insert(document("one\n## two")));
        let after = library.metadata("a").expect("there");
        assert_ne!(before, after.etag);
        assert_eq!(after.passages, 2);
        assert!(library.remove("a") && !library.remove("a"));
        assert_eq!(library.size(), (0, 0));
    }

    #[test]
    fn a_folder_gives_its_markdown_files() {
        let docs =
            load_docs(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/clients"))).expect("a folder");
        assert_eq!(docs[0].id, "readme");
        assert!(load_docs(Path::new("/nowhere")).is_err());
    }
}
