//! JSON pointers (RFC 6901) in which `*` stands for any element.

use std::str::FromStr;

use crate::json::Json;

/// The path to a value, or to several, in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

/// One step of a [`Pointer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The member of this name, or the element of this index.
    Name(String),
    /// Any element of an array.
    Any,
}

impl Pointer {
    /// The steps, outermost first.
    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The last text that the pointer leads to.
    pub(crate) fn last_text(&self, document: &Json<'_>) -> Option<String> {
        last_text(&self.tokens, document)
    }

    /// Adds the texts and the numbers that the pointer leads to, in the order of the document.
    pub(crate) fn collect(&self, document: &Json<'_>, found: &mut Vec<String>) {
        collect(&self.tokens, document, found);
    }

    /// The way to each text that the pointer leads to, without any [`Token::Any`].
    pub(crate) fn ways_to_texts(&self, document: &Json<'_>) -> Vec<Self> {
        let mut found = Vec::new();
        ways_to_texts(&self.tokens, document, &mut Vec::new(), &mut found);
        found
    }

    /// Puts `text` in the place of the one text that the pointer leads to. Nothing happens if there is none.
    pub(crate) fn set_text(&self, document: &mut Json<'_>, text: &str) {
        let place = self.tokens.iter().try_fold(document, |json, token| match (token, json) {
            (Token::Name(name), Json::Array(items)) => items.get_mut(name.parse::<usize>().ok()?),
            (Token::Name(name), Json::Object(members)) => {
                members.iter_mut().find(|member| member.name == *name).map(|member| &mut member.value)
            }
            _ => None,
        });
        if let Some(Json::String(place)) = place {
            *place = text.to_owned().into();
        }
    }

    /// The value that the pointer leads to through objects alone.
    pub(crate) fn member<'j, 't>(&self, document: &'j Json<'t>) -> Option<&'j Json<'t>> {
        self.tokens.iter().try_fold(document, |json, token| match token {
            Token::Name(name) => json.get(name),
            Token::Any => None,
        })
    }

    /// Whether every step is a name, so that it leads to one value.
    pub(crate) fn is_of_names(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Name(_)))
    }

    /// The way from each element of the list at `list`; `None` if this pointer does not go through all of them.
    pub(crate) fn within_elements_of(&self, list: &Self) -> Option<Self> {
        let rest = self.tokens.strip_prefix(&list.tokens[..])?.strip_prefix(&[Token::Any])?;
        let text = self.text.strip_prefix(&list.text)?.strip_prefix("/*")?;
        Some(Self { text: text.to_owned(), tokens: rest.to_vec() })
    }

    /// The whole document (RFC 6901, section 5: the empty text).
    pub(crate) const fn whole() -> Self {
        Self { text: String::new(), tokens: Vec::new() }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn from_tokens(tokens: Vec<Token>) -> Self {
        let step = |token: &Token| match token {
            Token::Name(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            Token::Any => "/*".to_owned(),
        };
        Self { text: tokens.iter().map(step).collect(), tokens }
    }
}

impl FromStr for Pointer {
    type Err = String;

    /// The error says what a pointer looks like.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or_else(|| {
            format!("`{text}` is no JSON pointer: it must begin with `/`, as in \"/metadata\"")
        })?;
        let tokens = rest.split('/').map(parse_token).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tokens })
    }
}

fn last_text(tokens: &[Token], json: &Json<'_>) -> Option<String> {
    let Some((first, rest)) = tokens.split_first() else { return json.as_str().map(str::to_owned) };
    match first {
        Token::Any => json.items().iter().rev().find_map(|item| last_text(rest, item)),
        Token::Name(name) => match json {
            Json::Array(items) => last_text(rest, items.get(name.parse::<usize>().ok()?)?),
            _ => last_text(rest, json.get(name)?),
        },
    }
}

fn ways_to_texts(tokens: &[Token], json: &Json<'_>, way: &mut Vec<Token>, found: &mut Vec<Pointer>) {
    let Some((first, rest)) = tokens.split_first() else {
        if json.as_str().is_some() {
            found.push(Pointer::from_tokens(way.clone()));
        }
        return;
    };
    let mut go_on = |name: &str, inner: &Json<'_>| {
        way.push(Token::Name(name.to_owned()));
        ways_to_texts(rest, inner, way, found);
        way.pop();
    };
    match (first, json) {
        (Token::Any, _) => {
            json.items().iter().enumerate().for_each(|(at, item)| go_on(&at.to_string(), item));
        }
        (Token::Name(name), Json::Array(items)) => {
            let item = name.parse::<usize>().ok().and_then(|index| items.get(index));
            item.into_iter().for_each(|item| go_on(name, item));
        }
        (Token::Name(name), _) => json.get(name).into_iter().for_each(|item| go_on(name, item)),
    }
}

fn collect(tokens: &[Token], json: &Json<'_>, found: &mut Vec<String>) {
    let Some((first, rest)) = tokens.split_first() else {
        match json {
            Json::String(text) => found.push(text.to_string()),
            Json::Number(number) => found.push(number.to_string()),
            _ => {}
        }
        return;
    };
    match (first, json) {
        (Token::Any, _) => json.items().iter().for_each(|item| collect(rest, item, found)),
        (Token::Name(name), Json::Array(items)) => {
            let item = name.parse::<usize>().ok().and_then(|index| items.get(index));
            item.into_iter().for_each(|item| collect(rest, item, found));
        }
        (Token::Name(name), _) => json.get(name).into_iter().for_each(|item| collect(rest, item, found)),
    }
}

fn parse_token(token: &str) -> Result<Token, String> {
    if token == "*" {
        return Ok(Token::Any);
    }
    // RFC 6901, section 3: `~` is written `~0` and `/` is written `~1`; a `~` before anything else is an
    // error.
    let mut name = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '~' { chars.next() } else { None }) {
            ('~', Some('0')) => name.push('~'),
            ('~', Some('1')) => name.push('/'),
            ('~', _) => return Err(format!("`{token}`: write `~` as `~0` and `/` as `~1`")),
            (plain, _) => name.push(plain),
        }
    }
    Ok(Token::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_within_the_elements_of_a_list() {
        let pointer = |text: &str| text.parse::<Pointer>().expect("a pointer");
        for (list, inner, expected) in [
            ("/a", "/a/*/b", Some(pointer("/b"))),
            ("/a", "/a/*/b/*", Some(pointer("/b/*"))),
            ("/a/b", "/a/b/*", Some(Pointer::whole())),
            ("/a", "/a", None),
            ("/a", "/a/0/b", None),
            ("/a", "/b/*/b", None),
            ("/a/b", "/a/*", None),
        ] {
            assert_eq!(pointer(inner).within_elements_of(&pointer(list)), expected, "{inner} in {list}");
        }
        assert!(pointer("/a/b").is_of_names() && !pointer("/a/*").is_of_names());
    }

    #[test]
    fn each_text_has_its_way_and_can_be_replaced() {
        let text = br#"{"a":[{"b":"x"},{"b":1},{"b":"y"}],"c/d":{"~":"z"}}"#;
        let json = Json::parse(text).expect("JSON");
        for (pointer, expected) in [
            ("/a/*/b", &["/a/0/b", "/a/2/b"][..]),
            ("/a/2/b", &["/a/2/b"]),
            ("/c~1d/~0", &["/c~1d/~0"]),
            ("/a/1/b", &[]),
            ("/a", &[]),
            ("/c~1d/*", &[]),
        ] {
            let ways = pointer.parse::<Pointer>().expect("a pointer").ways_to_texts(&json);
            assert_eq!(ways.iter().map(Pointer::as_str).collect::<Vec<_>>(), expected, "{pointer}");
            for way in ways {
                assert_eq!(way.as_str().parse(), Ok(way.clone()), "{pointer}");
                let mut changed = Json::parse(text).expect("JSON");
                way.set_text(&mut changed, "new");
                assert_eq!(way.last_text(&changed).as_deref(), Some("new"), "{pointer}");
                way.set_text(&mut changed, &way.last_text(&json).expect("a text"));
                assert_eq!(changed.to_json(), json.to_json(), "{pointer}");
            }
        }
    }

    #[test]
    fn collects_texts_and_numbers() {
        let text = br#"{"sources":[{"id":"a"},{"id":7},{"id":null},{"id":["x"]},{}],"main":{"id":"b"}}"#;
        let json = Json::parse(text).expect("JSON");
        for (pointer, expected) in [
            ("/sources/*/id", &["a", "7"][..]),
            ("/sources/1/id", &["7"]),
            ("/sources/3/id/*", &["x"]),
            ("/main/id", &["b"]),
            ("/none/*/id", &[]),
            ("/main", &[]),
        ] {
            let mut found = Vec::new();
            pointer.parse::<Pointer>().expect("a pointer").collect(&json, &mut found);
            assert_eq!(found, expected, "{pointer}");
        }
    }
}
