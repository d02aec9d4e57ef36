//! Policies written in HCL.

use hcl::edit::Span as _;
use hcl::edit::expr::Expression;
use hcl::edit::parser::parse_body;
use hcl::edit::structure::{self, BlockLabel, Structure};

use crate::document::{Attribute, Block, Kind, Value};
use crate::error::{ParseError, Reason};

/// Reads the blocks of a text that the scan has passed.
///
/// # Errors
/// The first thing that is not a block of attributes, with its line.
pub(crate) fn read(text: &str) -> Result<Vec<Block>, ParseError> {
    // The parser's own message repeats the line of the text, so only its place is kept.
    let body = parse_body(text).map_err(|error| Reason::Syntax.at(error.location().line()))?;
    let lines = Lines::new(text);
    body.iter()
        .map(|structure| match structure {
            Structure::Block(block) => read_block(block, &lines),
            Structure::Attribute(attribute) => Err(Reason::UnknownBlock.at(lines.of(attribute.span()))),
        })
        .collect()
}

fn read_block(block: &structure::Block, lines: &Lines) -> Result<Block, ParseError> {
    let line = lines.of(block.span());
    let kind = Kind::from_keyword(block.ident.as_str()).ok_or_else(|| Reason::UnknownBlock.at(line))?;
    let [BlockLabel::String(pattern)] = block.labels.as_slice() else {
        return Err(Reason::Label.at(line));
    };
    let attributes = block
        .body
        .iter()
        .map(|structure| match structure {
            Structure::Attribute(attribute) => Attribute {
                key: attribute.key.as_str().to_owned(),
                line: lines.of(attribute.span()),
                value: read_value(&attribute.value),
            },
            // `allowed_parameters { .. }` is as much a key as `allowed_parameters = { .. }`.
            Structure::Block(inner) => Attribute {
                key: inner.ident.as_str().to_owned(),
                line: lines.of(inner.span()),
                value: Value::Other,
            },
        })
        .collect();
    Ok(Block {
        kind,
        pattern: pattern.as_str().to_owned(),
        line,
        attributes,
    })
}

fn read_value(value: &Expression) -> Value {
    match value {
        Expression::String(text) => Value::Text(text.as_str().to_owned()),
        Expression::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map_or(Value::Other, Value::Texts),
        _ => Value::Other,
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(core::iter::once(0).chain(after_breaks).collect())
    }

    /// The line of a span, from 1.
    fn of(&self, span: Option<core::ops::Range<usize>>) -> Option<usize> {
        span.map(|span| self.0.partition_point(|begin| *begin <= span.start))
    }
}
