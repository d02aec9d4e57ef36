//! What the tests of several modules share.

use crate::Done;

/// Waits until it is durable.
pub(crate) fn wait(call: impl FnOnce(Done)) {
    let (sender, receiver) = std::sync::mpsc::channel();
    call(Box::new(move |done| sender.send(done).unwrap()));
    receiver.recv().unwrap().unwrap();
}

/// How much of a file is written. What follows is space that is filled ahead with zeros.
pub(crate) fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
