//! Finds the patterns that match a path without looking at the others.
//!
//! A tree of segments: each node has its literal children, at most one `+` child, what ends there, and the prefixes
//! that end inside the next segment. A look-up goes through the path once and keeps the nodes that it has reached; only
//! a `+` can make that more than one, and it never goes back.

use std::collections::BTreeMap;

use crate::pattern::Pattern;

/// Patterns, known by their places in the list that the index was built from.
pub(crate) struct Index {
    /// Invariant: not empty; the first is the root, and each is the child of exactly one before it.
    nodes: Vec<Node>,
}

impl Index {
    /// Over patterns of which none appears twice.
    pub(crate) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern>) -> Self {
        let mut index = Self {
            nodes: vec![Node::default()],
        };
        let mut prefixes: Vec<BTreeMap<&str, usize>> = vec![BTreeMap::new()];
        for (place, pattern) in patterns.enumerate() {
            let (segments, prefix) = pattern.segments_and_prefix();
            let mut at = ROOT;
            for segment in segments {
                at = index.child(at, segment);
            }
            prefixes.resize_with(index.nodes.len(), BTreeMap::new);
            match prefix {
                Some(prefix) => {
                    prefixes[at].insert(prefix, place);
                }
                None => index.nodes[at].exact = Some(place),
            }
        }
        for (node, of_node) in index.nodes.iter_mut().zip(prefixes) {
            node.prefixes = Prefixes::new(of_node);
        }
        index
    }

    /// The places of the patterns that match a path, in ascending order.
    pub(crate) fn matching(&self, path: &str) -> Vec<usize> {
        let (mut found, reached) = self.walk(path);
        found.extend(reached.iter().filter_map(|at| self.nodes[*at].exact));
        found.sort_unstable();
        found
    }

    /// The places of the patterns that match anything that begins with `directory` and a slash, whether it is there or
    /// not, in ascending order. The directory is given without that slash.
    pub(crate) fn matching_below(&self, directory: &str) -> Vec<usize> {
        let (mut found, mut reached) = self.walk(directory);
        // What ends at a node that was reached matches the directory alone.
        let ends_above = reached.len();
        let mut next = 0;
        while let Some(at) = reached.get(next) {
            let node = &self.nodes[*at];
            if next >= ends_above {
                found.extend(node.exact);
            }
            found.extend(node.prefixes.all());
            reached.extend(node.literal.values());
            reached.extend(node.plus);
            next += 1;
        }
        found.sort_unstable();
        found
    }

    /// The prefixes that match a path, and the nodes at its end.
    fn walk(&self, path: &str) -> (Vec<usize>, Vec<usize>) {
        let mut found = Vec::new();
        let mut reached = vec![ROOT];
        for segment in path.split('/') {
            reached = self.next(&reached, segment, &mut found);
            if reached.is_empty() {
                break;
            }
        }
        (found, reached)
    }

    /// The nodes after one more segment, and the prefixes that end in it. A node has one parent, so none is reached twice.
    fn next(&self, reached: &[usize], segment: &str, found: &mut Vec<usize>) -> Vec<usize> {
        let mut next = Vec::new();
        for at in reached {
            let node = &self.nodes[*at];
            node.prefixes.matching(segment, found);
            next.extend(node.literal.get(segment));
            if !segment.is_empty() {
                next.extend(node.plus);
            }
        }
        next
    }

    /// The child of a node for a segment of a pattern, made if it is missing.
    fn child(&mut self, at: usize, segment: &str) -> usize {
        let new = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = if segment == "+" {
            *node.plus.get_or_insert(new)
        } else {
            *node.literal.entry(segment.to_owned()).or_insert(new)
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }
}

/// What patterns say after some segments.
#[derive(Default)]
struct Node {
    literal: BTreeMap<String, usize>,
    plus: Option<usize>,
    /// The pattern that ends here, without `*`.
    exact: Option<usize>,
    prefixes: Prefixes,
}

/// Beginnings of one segment.
#[derive(Default)]
struct Prefixes {
    /// Invariant: in ascending order of the texts, none twice.
    sorted: Vec<Prefix>,
}

struct Prefix {
    text: String,
    place: usize,
    /// Invariant: the place in `sorted` of the longest other text that this one begins with.
    shorter: Option<usize>,
}

impl Prefixes {
    fn new(places: BTreeMap<&str, usize>) -> Self {
        let mut sorted: Vec<Prefix> = Vec::with_capacity(places.len());
        for (text, place) in places {
            // In this order a text stands after all that it begins with, and between are only texts that begin alike.
            let mut shorter = sorted.len().checked_sub(1);
            while let Some(at) = shorter.filter(|at| !text.starts_with(&sorted[*at].text)) {
                shorter = sorted[at].shorter;
            }
            sorted.push(Prefix {
                text: text.to_owned(),
                place,
                shorter,
            });
        }
        Self { sorted }
    }

    /// Adds the places of those that a segment begins with.
    fn matching(&self, segment: &str, found: &mut Vec<usize>) {
        // Whatever the segment begins with is not after it, so the last such text begins with all of them.
        let after = self.sorted.partition_point(|prefix| prefix.text.as_str() <= segment);
        let Some(last) = after.checked_sub(1) else {
            return;
        };
        let bytes = self.sorted[last].text.bytes().zip(segment.bytes());
        let in_common = bytes.take_while(|(one, other)| one == other).count();
        let mut next = Some(last);
        while let Some(at) = next {
            let prefix = &self.sorted[at];
            if prefix.text.len() <= in_common {
                found.push(prefix.place);
            }
            next = prefix.shorter;
        }
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        self.sorted.iter().map(|prefix| prefix.place)
    }
}

/// Where every look-up begins.
const ROOT: usize = 0;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two choices at every segment, and a path that takes both each time: whoever went back would look at millions.
    #[test]
    fn each_node_is_looked_at_once_at_most() {
        let choices = |at: u32| (0..10).map(move |bit| if at >> bit & 1 == 1 { "+" } else { "a" });
        let patterns: Vec<Pattern> = (0..1 << 10)
            .map(|at| Pattern::parse(&choices(at).collect::<Vec<_>>().join("/")))
            .collect::<Result<_, _>>()
            .unwrap();
        let index = Index::new(patterns.iter());
        let path = ["a"; 10].join("/");
        assert_eq!(index.matching(&path).len(), patterns.len());
        let (mut looked, mut reached) = (1, vec![ROOT]);
        for segment in path.split('/') {
            reached = index.next(&reached, segment, &mut Vec::new());
            looked += reached.len();
        }
        assert_eq!((looked, index.nodes.len()), ((1 << 11) - 1, (1 << 11) - 1));
        // What does not match is left at once.
        assert!(index.next(&[ROOT], "", &mut Vec::new()).is_empty());
        assert_eq!(index.next(&[ROOT], "b", &mut Vec::new()).len(), 1);
    }
}
