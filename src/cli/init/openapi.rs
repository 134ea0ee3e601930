//! What an OpenAPI description (spec.openapis.org, versions 3.0 and 3.1) says of a service's operations. Pure.

use serde_json::{Map, Value};

/// How many references a schema is followed through: a description may refer to itself.
const MAX_DEPTH: usize = 4;

/// How many operations are read.
const MAX_OPERATIONS: usize = 1000;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// An operation of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Operation {
    /// In capitals.
    pub(super) method: String,
    /// With `{name}` for its parts.
    pub(super) path: String,
    /// The media types of its request bodies.
    pub(super) takes: Vec<String>,
    /// The members of its JSON body.
    pub(super) members: Vec<Member>,
    /// The names of its query parameters.
    pub(super) parameters: Vec<String>,
    /// The media types of its successes.
    pub(super) gives: Vec<String>,
    /// Where its JSON answer names documents, as JSON pointers.
    pub(super) cites: Vec<String>,
}

/// A member of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) is_text: bool,
    pub(super) is_list: bool,
}

/// The title and the operations of a description; `None` if the document is something else.
pub(super) fn read(document: &Value) -> Option<(String, Vec<Operation>)> {
    let is_one = document.get("openapi").or_else(|| document.get("swagger")).is_some();
    let paths = document.get("paths").and_then(Value::as_object).filter(|_| is_one)?;
    let title = document.pointer("/info/title").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get(method)
                && path.starts_with('/')
                && operations.len() < MAX_OPERATIONS
            {
                operations.push(read_operation(document, (method, path), item, operation));
            }
        }
    }
    Some((title, operations))
}

fn read_operation(
    document: &Value,
    (method, path): (&str, &str),
    item: &Value,
    operation: &Value,
) -> Operation {
    let content = |pointer: &str| {
        let at = operation.pointer(pointer).map(|value| resolved(document, value));
        at.and_then(|value| value.get("content")).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let body = content("/requestBody");
    let answers = operation.get("responses").and_then(Value::as_object).into_iter().flatten();
    let successes = answers
        .filter(|(status, _)| status.starts_with('2'))
        .filter_map(|(_, answer)| resolved(document, answer).get("content").and_then(Value::as_object));
    let successes: Vec<_> = successes.collect();
    let parameters = [item, operation].into_iter().filter_map(|owner| owner.get("parameters")?.as_array());
    let in_query = |parameter: &Value| {
        let parameter = resolved(document, parameter);
        let is_query = parameter.get("in").and_then(Value::as_str) == Some("query");
        parameter.get("name").and_then(Value::as_str).filter(|_| is_query).map(str::to_owned)
    };
    let mut cites = Vec::new();
    for schema in successes.iter().filter_map(|content| json_schema(content)) {
        find_citations(document, schema, "", 0, &mut cites);
    }
    Operation {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        takes: body.keys().cloned().collect(),
        members: json_schema(&body).map(|schema| members(document, schema)).unwrap_or_default(),
        parameters: parameters.flatten().filter_map(in_query).collect(),
        gives: successes.iter().flat_map(|content| content.keys().cloned()).collect(),
        cites,
    }
}

fn json_schema(content: &Map<String, Value>) -> Option<&Value> {
    let (_, media) = content.iter().find(|(media, _)| media.contains("json"))?;
    media.get("schema")
}

/// The value that a local `$ref` leads to.
fn resolved<'v>(document: &'v Value, value: &'v Value) -> &'v Value {
    let mut value = value;
    for _ in 0..MAX_DEPTH {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else { break };
        let Some(found) = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer)) else {
            break;
        };
        value = found;
    }
    value
}

/// A schema without what allows null, or one of several of its forms.
fn plain<'v>(document: &'v Value, schema: &'v Value) -> &'v Value {
    let schema = resolved(document, schema);
    for name in ["anyOf", "oneOf", "allOf"] {
        let forms = schema.get(name).and_then(Value::as_array).into_iter().flatten();
        let is_null = |form: &&Value| form.get("type").and_then(Value::as_str) == Some("null");
        if let Some(form) = forms.into_iter().find(|form| !is_null(form)) {
            return resolved(document, form);
        }
    }
    schema
}

fn has_type(schema: &Value, wanted: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(own)) => own == wanted,
        Some(Value::Array(own)) => own.iter().any(|own| own == wanted),
        _ => false,
    }
}

fn properties<'v>(document: &'v Value, schema: &'v Value) -> impl Iterator<Item = (&'v String, &'v Value)> {
    let schema = plain(document, schema);
    let own = schema.get("properties").and_then(Value::as_object);
    own.into_iter().flatten().map(|(name, schema)| (name, plain(document, schema)))
}

fn members(document: &Value, schema: &Value) -> Vec<Member> {
    let member = |(name, schema): (&String, &Value)| Member {
        name: name.clone(),
        is_text: has_type(schema, "string"),
        is_list: has_type(schema, "array"),
    };
    properties(document, schema).map(member).collect()
}

/// Finds lists of sources in an answer, whose elements have an id.
fn find_citations(document: &Value, schema: &Value, at: &str, depth: usize, found: &mut Vec<String>) {
    const LISTS: [&str; 8] = [
        "sources",
        "references",
        "citations",
        "documents",
        "chunks",
        "results",
        "contexts",
        "source_documents",
    ];
    const IDS: [&str; 5] = ["document_id", "doc_id", "file_id", "source_id", "id"];
    if depth > 2 {
        return;
    }
    for (name, schema) in properties(document, schema) {
        let here = format!("{at}/{name}");
        if !has_type(schema, "array") {
            find_citations(document, schema, &here, depth + 1, found);
        } else if LISTS.contains(&name.as_str())
            && let Some(items) = schema.get("items")
        {
            let names: Vec<_> = properties(document, items).map(|(name, _)| name.as_str()).collect();
            if let Some(id) = IDS.into_iter().find(|id| names.contains(id)) {
                found.push(format!("{here}/*/{id}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_have_their_members_and_citations() {
        let document = json!({
            "openapi": "3.1.0",
            "info": {"title": "Docs"},
            "components": {"schemas": {
                "Ask": {"type": "object", "properties": {
                    "question": {"type": "string"},
                    "session_id": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "history": {"type": "array"},
                }},
                "Reply": {"properties": {"data": {"$ref": "#/components/schemas/Data"}}},
                "Data": {"properties": {"sources": {"type": "array", "items": {"$ref": "#/components/schemas/Source"}}}},
                "Source": {"properties": {"title": {"type": "string"}, "doc_id": {"type": "string"}}},
                "Loop": {"$ref": "#/components/schemas/Loop"},
            }},
            "paths": {
                "/ask": {"post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}},
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Reply"}}}},
                        "422": {"content": {"text/plain": {}}},
                    },
                }},
                "/items": {
                    "parameters": [{"in": "query", "name": "q"}, {"in": "path", "name": "p"}],
                    "get": {"responses": {"200": {"content": {"text/event-stream": {}}}}},
                    "delete": {},
                },
                "/loop": {"post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Loop"}}}},
                }},
            },
        });
        let (title, operations) = read(&document).expect("a description");
        assert_eq!(title, "Docs");
        let ask = operations.iter().find(|operation| operation.path == "/ask").expect("an operation");
        let member = |name: &str, is_text, is_list| Member { name: name.to_owned(), is_text, is_list };
        assert_eq!(
            ask.members,
            [
                member("question", true, false),
                member("session_id", true, false),
                member("history", false, true)
            ]
        );
        assert_eq!(
            (ask.cites.as_slice(), ask.gives.as_slice()),
            (&["/data/sources/*/doc_id".to_owned()][..], &["application/json".to_owned()][..])
        );
        let items: Vec<_> = operations.iter().filter(|operation| operation.path == "/items").collect();
        assert_eq!(items[0].parameters, ["q"]);
        assert_eq!((items[0].method.as_str(), items[1].method.as_str()), ("GET", "DELETE"));
        assert!(operations.iter().any(|operation| operation.path == "/loop" && operation.members.is_empty()));
        for other in [json!({}), json!([]), json!({"paths": {}}), json!({"openapi": "3", "paths": 1})] {
            assert_eq!(read(&other), None);
        }
    }
}
