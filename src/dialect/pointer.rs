//! JSON pointers (RFC 6901) in which `*` stands for any element.

use std::str::FromStr;

/// A path into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<Token>,
}

/// One step of a [`Pointer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The member of this name, or the element of this index.
    Name(String),
    /// Any element of an array.
    Any,
}

impl Pointer {
    /// The steps, outermost first.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Pointer {
    type Err = String;

    /// Errors say what a pointer looks like.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix('/').ok_or_else(|| {
            format!("`{text}` is no JSON pointer: it must begin with `/`, as in \"/metadata\"")
        })?;
        let tokens = rest.split('/').map(parse_token).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), tokens })
    }
}

fn parse_token(token: &str) -> Result<Token, String> {
    if token == "*" {
        return Ok(Token::Any);
    }
    // RFC 6901, section 3: `~` is written `~0` and `/` is written `~1`; a `~` before anything else is an error.
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
