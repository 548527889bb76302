//! As much of Alloy's syntax as `deploy/alloy` has: blocks, attributes, strings, lists, objects, references, calls, `+`.
//!
//! Source: <https://grafana.com/docs/alloy/latest/get-started/configuration-syntax/syntax/>. There is no Alloy in the gate to ask.

/// `name "label" { … }`.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) body: Body,
}

#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) attributes: Vec<(String, Value)>,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    /// A number or `true`, `false`, `null`.
    Plain(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
    Reference(String),
    Call(String, Vec<Value>),
    Sum(Vec<Value>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
    Newline,
}

/// Reads a file, or a part that could stand in a block.
pub(crate) fn parse(text: &str) -> Result<Body, String> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let body = parser.body()?;
    match parser.peek() {
        None => Ok(body),
        Some(token) => Err(format!("{token:?} where a block or an attribute begins")),
    }
}

impl Body {
    pub(crate) fn attribute(&self, name: &str) -> Option<&Value> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All values in it and in its blocks.
    pub(crate) fn values(&self) -> Vec<&Value> {
        let own = self.attributes.iter().flat_map(|(_, value)| value.parts());
        own.chain(self.blocks.iter().flat_map(|block| block.body.values())).collect()
    }

    /// The names of all blocks in it, at any depth.
    pub(crate) fn block_names(&self) -> Vec<&str> {
        let names = self.blocks.iter().flat_map(|block| {
            let mut names = vec![block.name.as_str()];
            names.extend(block.body.block_names());
            names
        });
        names.collect()
    }
}

impl Value {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// It and all that it is made of.
    fn parts(&self) -> Vec<&Self> {
        let inner: Vec<&Self> = match self {
            Self::List(all) | Self::Sum(all) | Self::Call(_, all) => all.iter().collect(),
            Self::Object(pairs) => pairs.iter().map(|(_, value)| value).collect(),
            Self::Text(_) | Self::Plain(_) | Self::Reference(_) => Vec::new(),
        };
        std::iter::once(self).chain(inner.into_iter().flat_map(Self::parts)).collect()
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn expects(&mut self, sign: char) -> Result<(), String> {
        match self.takes(&Token::Sign(sign)) {
            true => Ok(()),
            false => Err(format!("{sign} expected, not {:?}", self.peek())),
        }
    }

    fn skip_newlines(&mut self) {
        while self.takes(&Token::Newline) {}
    }

    fn body(&mut self) -> Result<Body, String> {
        let mut body = Body::default();
        loop {
            self.skip_newlines();
            let Some(Token::Word(name)) = self.peek().cloned() else { return Ok(body) };
            self.at += 1;
            if self.takes(&Token::Sign('=')) {
                if name.contains('.') || body.attribute(&name).is_some() {
                    return Err(format!("{name} is no attribute, or one twice"));
                }
                let value = self.value()?;
                body.attributes.push((name, value));
            } else {
                body.blocks.push(self.block(name)?);
            }
            if !matches!(self.peek(), None | Some(Token::Newline | Token::Sign('}'))) {
                return Err(format!("a line ends before {:?}", self.peek()));
            }
        }
    }

    fn block(&mut self, name: String) -> Result<Block, String> {
        let label = match self.peek() {
            Some(Token::Text(label)) => Some(label.clone()),
            _ => None,
        };
        self.at += usize::from(label.is_some());
        self.expects('{')?;
        let body = self.body()?;
        self.expects('}').map_err(|error| format!("{name}: {error}"))?;
        Ok(Block { name, label, body })
    }

    fn value(&mut self) -> Result<Value, String> {
        let mut terms = vec![self.term()?];
        while self.takes(&Token::Sign('+')) {
            terms.push(self.term()?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Value::Sum(terms) })
    }

    fn term(&mut self) -> Result<Value, String> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Value::Text(text)),
            Some(Token::Sign('[')) => self.separated(']', Self::value).map(Value::List),
            Some(Token::Sign('{')) => self.separated('}', Self::pair).map(Value::Object),
            Some(Token::Word(word)) if self.takes(&Token::Sign('(')) => {
                Ok(Value::Call(word, self.separated(')', Self::value)?))
            }
            Some(Token::Word(word)) => {
                let is_plain = word.starts_with(|first: char| first.is_ascii_digit())
                    || ["true", "false", "null"].contains(&&*word);
                Ok(if is_plain { Value::Plain(word) } else { Value::Reference(word) })
            }
            other => Err(format!("a value expected, not {other:?}")),
        }
    }

    fn pair(&mut self) -> Result<(String, Value), String> {
        match self.next() {
            Some(Token::Word(key) | Token::Text(key)) => {
                self.expects('=')?;
                Ok((key, self.value()?))
            }
            other => Err(format!("a key expected, not {other:?}")),
        }
    }

    /// Parts with a comma behind each; none is needed behind the last in the closing sign's own line.
    fn separated<T>(&mut self, end: char, part: impl Fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut parts = Vec::new();
        loop {
            self.skip_newlines();
            if self.takes(&Token::Sign(end)) {
                return Ok(parts);
            }
            parts.push(part(self)?);
            if !self.takes(&Token::Sign(',')) {
                self.expects(end)?;
                return Ok(parts);
            }
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if rest.starts_with("//") {
            rest = rest.trim_start_matches(|c| c != '\n');
        } else if first == '"' {
            let (text, behind) = quoted(&rest[1..])?;
            tokens.push(Token::Text(text));
            rest = behind;
        } else if is_word(first) {
            let behind = rest.trim_start_matches(is_word);
            tokens.push(Token::Word(rest[..rest.len() - behind.len()].to_owned()));
            rest = behind;
        } else {
            match first {
                '\n' => tokens.push(Token::Newline),
                ' ' => {}
                '=' | '{' | '}' | '[' | ']' | '(' | ')' | ',' | '+' => tokens.push(Token::Sign(first)),
                other => return Err(format!("{other:?} has no meaning")),
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(tokens)
}

/// A string behind its first quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                other => return Err(format!("an escape that is not used here: {other:?}")),
            },
            '\n' => break,
            c => value.push(c),
        }
    }
    Err(format!("a string without an end: {value:?}"))
}

#[test]
fn what_is_no_configuration_is_noticed() {
    for text in
        ["", "a = 1", "a.b \"c\" {\n  d = [1, \"x\", e.f.g]\n  h {}\n}", "a = b(\"c\") + \"d\"", "a = {\n  b = 1,\n}"]
    {
        assert!(parse(text).is_ok(), "{text}: {:?}", parse(text));
    }
    for text in [
        "a",
        "a {",
        "a }",
        "}",
        "a = ",
        "a = 1 b = 2",
        "a = [1",
        "a = {\n  b = 1\n}",
        "a = \"b",
        "a = 1\na = 2",
        "a = [1\n]",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}
