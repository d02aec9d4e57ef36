//! Policies written in HCL, as version 1 of the language has it, which Vault's policies are written in: line breaks mean nothing, a
//! block may stand on one line with any number of attributes, and a comma may follow each of them and the last item of a list.
//!
//! What it reads means the same to Vault. It reads less: the scan has confined the text to literals, escapes are those that cannot
//! make a string of other than characters, and the label of a block is quoted.

use crate::document::{Attribute, Block, Kind, Value};
use crate::error::{ParseError, Reason};

/// Reads the blocks of a text that the scan has passed, which bounds how deep brackets stand inside each other.
///
/// # Errors
/// The first thing that is not a block of attributes, with its line.
pub(crate) fn read(text: &str) -> Result<Vec<Block>, ParseError> {
    let mut parser = Parser::new(text, Dashes::No)?;
    let items = parser.items(&Token::End)?;
    items.into_iter().map(block).collect()
}

/// What stands at the top of a text of other than rules: an attribute, or a block with a label.
pub(crate) struct Top {
    /// The label, and what is said in the block of it; nothing for an attribute.
    pub(crate) label: Option<String>,
    /// An attribute, or a block as an attribute whose value is an object.
    pub(crate) attribute: Attribute,
}

/// Reads a text that the scan has passed, in which keys can have dashes.
///
/// # Errors
/// The first thing that is neither an attribute nor a block with one quoted label, with its line.
pub(crate) fn read_tops(text: &str) -> Result<Vec<Top>, ParseError> {
    let mut parser = Parser::new(text, Dashes::InWords)?;
    let items = parser.items(&Token::End)?;
    let tops = items.into_iter().map(|mut item| {
        let label = match item.keys.len() {
            1 => None,
            2 if item.keys[1].is_quoted => item.keys.pop().map(|key| key.text),
            _ => return Err(Reason::Label.at(item.line)),
        };
        Ok(Top {
            label,
            attribute: attribute(item),
        })
    });
    tops.collect()
}

/// Whether a word can have dashes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dashes {
    No,
    InWords,
}

/// A value with one key, or an object with several.
struct Item {
    line: usize,
    keys: Vec<Key>,
    value: Node,
}

struct Key {
    text: String,
    is_quoted: bool,
}

enum Node {
    Value(Value),
    Object(Vec<Item>),
}

fn block(item: Item) -> Result<Block, ParseError> {
    let line = Some(item.line);
    let mut keys = item.keys.into_iter();
    let word = keys.next().map(|key| key.text).unwrap_or_default();
    let kind = Kind::from_keyword(&word).ok_or_else(|| Reason::UnknownBlock.at(line))?;
    let (Some(label), None) = (keys.next().filter(|label| label.is_quoted), keys.next()) else {
        return Err(Reason::Label.at(line));
    };
    let Node::Object(items) = item.value else {
        return Err(Reason::Label.at(line));
    };
    Ok(Block {
        kind,
        pattern: label.text,
        line,
        attributes: items.into_iter().map(attribute).collect(),
    })
}

/// `allowed_parameters { .. }` is as much a key as `allowed_parameters = { .. }`.
fn attribute(item: Item) -> Attribute {
    let has_labels = item.keys.len() > 1;
    Attribute {
        key: item.keys.into_iter().next().map(|key| key.text).unwrap_or_default(),
        line: Some(item.line),
        value: match item.value {
            Node::Value(value) => value,
            Node::Object(items) if !has_labels => object(items),
            Node::Object(_) => Value::Other,
        },
    }
}

/// An object of plain keys; one whose keys have labels means nothing here.
fn object(items: Vec<Item>) -> Value {
    if items.iter().any(|item| item.keys.len() > 1) {
        return Value::Other;
    }
    Value::Object(items.into_iter().map(attribute).collect())
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Token,
    /// The line of the next token.
    line: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, dashes: Dashes) -> Result<Self, ParseError> {
        let mut parser = Self {
            lexer: Lexer {
                rest: text,
                line: 1,
                dashes,
            },
            next: Token::End,
            line: 1,
        };
        parser.advance()?;
        Ok(parser)
    }

    /// Takes the next token.
    fn advance(&mut self) -> Result<Token, ParseError> {
        let next = self.lexer.token()?;
        self.line = self.lexer.line;
        Ok(core::mem::replace(&mut self.next, next))
    }

    fn syntax<T>(&self) -> Result<T, ParseError> {
        Err(Reason::Syntax.at(self.line))
    }

    /// Items up to this token, which is taken too.
    fn items(&mut self, end: &Token) -> Result<Vec<Item>, ParseError> {
        let mut items = Vec::new();
        while self.next != *end {
            items.push(self.item()?);
            if self.next == Token::Comma {
                self.advance()?;
            }
        }
        self.advance()?;
        Ok(items)
    }

    fn item(&mut self) -> Result<Item, ParseError> {
        let line = self.line;
        let mut keys = Vec::new();
        loop {
            let (text, is_quoted) = match &self.next {
                Token::Word(text) if !text.starts_with(|c: char| c.is_ascii_digit()) => (text.clone(), false),
                Token::Text(text) => (text.clone(), true),
                Token::Equals if keys.len() == 1 => {
                    self.advance()?;
                    let value = Node::Value(self.value()?);
                    return Ok(Item { line, keys, value });
                }
                Token::Open if !keys.is_empty() => {
                    self.advance()?;
                    let value = Node::Object(self.items(&Token::Close)?);
                    return Ok(Item { line, keys, value });
                }
                _ => return self.syntax(),
            };
            keys.push(Key { text, is_quoted });
            self.advance()?;
        }
    }

    fn value(&mut self) -> Result<Value, ParseError> {
        match self.next {
            Token::Text(_) | Token::Word(_) | Token::Open | Token::OpenList => {}
            _ => return self.syntax(),
        }
        Ok(match self.advance()? {
            Token::Text(text) => Value::Text(text),
            Token::OpenList => self.list()?,
            Token::Open => object(self.items(&Token::Close)?),
            Token::Word(word) => match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => word
                    .parse()
                    .map_or(Value::Other, |number: u64| Value::Number(number.to_string())),
            },
            _ => Value::Other,
        })
    }

    fn list(&mut self) -> Result<Value, ParseError> {
        let mut items = Vec::new();
        while self.next != Token::CloseList {
            items.push(self.value()?);
            match self.next {
                Token::Comma => drop(self.advance()?),
                Token::CloseList => {}
                _ => return self.syntax(),
            }
        }
        self.advance()?;
        Ok(Value::List(items))
    }
}

#[derive(PartialEq, Eq)]
enum Token {
    Word(String),
    /// A quoted string, its escapes resolved.
    Text(String),
    Equals,
    Comma,
    Open,
    Close,
    OpenList,
    CloseList,
    End,
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    dashes: Dashes,
}

impl Lexer<'_> {
    fn token(&mut self) -> Result<Token, ParseError> {
        self.skip()?;
        let has_dashes = self.dashes == Dashes::InWords;
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || (c == '-' && has_dashes);
        let end = self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len());
        if end > 0 {
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Ok(Token::Word(word.to_owned()));
        }
        let token = match self.take() {
            None => Token::End,
            Some('"') => Token::Text(self.text()?),
            Some('=') => Token::Equals,
            Some(',') => Token::Comma,
            Some('{') => Token::Open,
            Some('}') => Token::Close,
            Some('[') => Token::OpenList,
            Some(']') => Token::CloseList,
            Some(_) => return self.syntax(),
        };
        Ok(token)
    }

    /// Passes over space and comments.
    fn skip(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.pass(self.rest.len() - rest.len());
            let comment = if rest.starts_with('#') || rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(text) = rest.strip_prefix("/*") {
                match text.find("*/") {
                    Some(end) => end + "/**/".len(),
                    None => return self.syntax(),
                }
            } else {
                return Ok(());
            };
            self.pass(comment);
        }
    }

    fn pass(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }

    /// The rest of a string after its quote. It ends on its line.
    fn text(&mut self) -> Result<String, ParseError> {
        let mut text = String::new();
        loop {
            text.push(match self.take() {
                Some('"') => return Ok(text),
                Some('\\') => self.escaped()?,
                Some(c) if c != '\n' => c,
                _ => return self.syntax(),
            });
        }
    }

    fn escaped(&mut self) -> Result<char, ParseError> {
        let digits = match self.take() {
            Some(c @ ('"' | '\\')) => return Ok(c),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('u') => 4,
            Some('U') => 8,
            _ => return self.syntax(),
        };
        let mut code = 0;
        for _ in 0..digits {
            match self.take().and_then(|c| c.to_digit(16)) {
                Some(digit) => code = code << 4 | digit,
                None => return self.syntax(),
            }
        }
        char::from_u32(code).map_or_else(|| self.syntax(), Ok)
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn syntax<T>(&self) -> Result<T, ParseError> {
        Err(Reason::Syntax.at(self.line))
    }
}
