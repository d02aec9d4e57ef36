//! The cases by number, in a line each, and what those wait for that cannot be tested, or not wholly, today.

/// One case.
pub(crate) struct Case {
    pub(crate) number: usize,
    /// What somebody tries, and what comes of it.
    pub(crate) says: &'static str,
    /// Features that are not there yet. Nothing: it is tested whole.
    pub(crate) waits: &'static [&'static str],
}

const fn case(number: usize, says: &'static str, waits: &'static [&'static str]) -> Case {
    Case { number, says, waits }
}

const HANDOVER: &str = "handover of keys between nodes (issue 8)";
const CONSTANT_TIME: &str = "constant time, checked by a tool (issue 8)";
const ERASURE: &str = "proof that a destroyed key left the disks (issue 8)";
const OPEN_CONNECTIONS: &str = "wiping the buffers of open connections on seal (issue 8)";
const FAULT_POINTS: &str = "fault points in a running node (issue 6)";
const RECOVERY_TOKENS: &str = "recovery by a token (not planned: recovery is offline, with shares)";
const ENGINES: &str = "engines with credentials of their own (a later issue)";
const LEASES: &str = "leases and dynamic credentials (a later issue)";
const TRANSIT: &str = "transit (a later issue)";
const PKI: &str = "PKI (a later issue)";
const STALE_READS: &str = "reads from followers and regions (a later issue)";

/// What can be waited for.
pub(crate) const FEATURES: &[&str] = &[
    HANDOVER,
    CONSTANT_TIME,
    ERASURE,
    OPEN_CONNECTIONS,
    FAULT_POINTS,
    RECOVERY_TOKENS,
    ENGINES,
    LEASES,
    TRANSIT,
    PKI,
    STALE_READS,
];

/// All of them, in order.
#[rustfmt::skip]
pub(crate) const CASES: [Case; 118] = [
    case(1, "A list walks around a deny by a slash at its end", &[]),
    case(2, "A policy decides otherwise than its meaning, for some set and some path", &[]),
    case(3, "A path with dots, encoded or not, or with `;`, leads elsewhere", &[]),
    case(4, "Doubled, leading or trailing slashes are collapsed after the check", &[]),
    case(5, "A path has characters that nobody sees, bytes that are no text, or two spellings", &[]),
    case(6, "An encoded slash becomes a separator after the check", &[]),
    case(7, "A path too long, too deep or with too long a segment reaches the policies", &[]),
    case(8, "A namespace is called like the root, or almost", &[]),
    case(9, "Header and path name two namespaces; a child names its parent", &[]),
    case(10, "A policy is called like `root`, or almost, and is given to somebody", &[]),
    case(11, "A value of an identity brings wildcards into a template", &[]),
    case(12, "A template takes another alias than that of this login", &[]),
    case(13, "A method has no declared permission, or another one than is declared", &[]),
    case(14, "A batch does what its parts may not", &[LEASES]),
    case(15, "A range covers more than what the caller may see", &[]),
    case(16, "Two routes to one action decide differently", &[]),
    case(17, "A client asks for what nodes do among themselves", &[]),
    case(18, "Reading an engine's configuration gives its credential", &[ENGINES]),
    case(19, "`*` stands for `sudo` on a protected path", &[]),
    case(20, "An old policy still allows after the change was acknowledged", &[]),
    case(21, "A policy that is wrong or too large is found out when it decides", &[]),
    case(22, "A policy goes between check and write, and the write takes effect", &[]),
    case(23, "One user under many spellings", &[]),
    case(24, "Answer or time tell an unknown user from a wrong password", &[]),
    case(25, "A lockout is forgotten by a new leader or a restart", &[]),
    case(26, "A one-time code is used twice", &[]),
    case(27, "A second factor is not asked for after a restart", &[]),
    case(28, "An identity that comes with an error gets a token", &[]),
    case(29, "A forged, foreign or expired JWT logs in", &[]),
    case(30, "A cached identity is taken for another one", &[]),
    case(31, "A token counts outside its header, or shows up in a log", &[]),
    case(32, "Two tokens at once, or a token beside another's certificate", &[]),
    case(33, "A secret is compared byte by byte", &[]),
    case(34, "A token is guessed, cut or mistyped", &[]),
    case(35, "A child token has more than its parent", &[]),
    case(36, "A leader dies while a tree of tokens is revoked", &[LEASES]),
    case(37, "A token of N uses is used more often, on many nodes at once", &[]),
    case(38, "A stateless token has children, or outlives its key", &[]),
    case(39, "A renewal yields a token without an end", &[]),
    case(40, "A renewal gives a token what it was made without", &[]),
    case(41, "An accessor is used across namespaces or roles", &[]),
    case(42, "An accessor is shown as a token", &[]),
    case(43, "A wrapped reply is opened twice", &[]),
    case(44, "Merging identities brings in policies", &[]),
    case(45, "A disabled identity's tokens go on", &[]),
    case(46, "A header lies about the caller's address", &[]),
    case(47, "A browser is made to call from another origin", &[]),
    case(48, "An initialised cluster is initialised again; the first token cannot go", &[]),
    case(49, "Somebody without authority starts, watches or ends a rekey", &[]),
    case(50, "A share of one session counts in another", &[]),
    case(51, "Wrong, repeated, foreign, zero, short and huge shares", &[]),
    case(52, "A flood of wrong shares fills the memory or locks the operator out", &[]),
    case(53, "Fewer shares than the threshold say something about the key", &[]),
    case(54, "Splitting or combining takes a time that depends on the secret", &[CONSTANT_TIME]),
    case(55, "A crash in a rekey leaves both sets of shares, or none", &[]),
    case(56, "Old shares open a node that slept through the rekey", &[]),
    case(57, "A share or key lies in a file, a log, a core file or the memory of a sealed node", &[]),
    case(58, "A sealed node answers", &[]),
    case(59, "An answer leaves after the call that sealed the node; the memory keeps what it had", &[OPEN_CONNECTIONS]),
    case(60, "A node that was cut off is not sealed with its cluster", &[]),
    case(61, "An HSM that fails is replaced by something weaker", &[]),
    case(62, "A seal of another store, or of an older key, opens this one", &[]),
    case(63, "A recipient's key is broken, expired or there twice", &[]),
    case(64, "Recovery is begun from afar", &[RECOVERY_TOKENS]),
    case(65, "Whoever has a client's certificate, or another cluster's, talks to the peer port", &[]),
    case(66, "A join token is used twice, late, or elsewhere; joining changes a member", &[]),
    case(67, "A new node votes at once, or has the id of an old one", &[]),
    case(68, "A removed member, or one for another cluster or node, is heard", &[]),
    case(69, "A snapshot is cut, changed, foreign, older or absurdly large", &[]),
    case(70, "A backup comes back as if nothing had been revoked since", &[]),
    case(71, "A forwarded request claims an identity", &[]),
    case(72, "One request is read in two ways", &[]),
    case(73, "A write whose reply was lost is called failed, or is applied twice", &[]),
    case(74, "A leader that is none any more answers", &[]),
    case(75, "A stale read is taken for a fresh one", &[STALE_READS]),
    case(76, "Somebody who is no operator moves leadership or members", &[]),
    case(77, "Members, metrics or internals are shown to strangers", &[]),
    case(78, "An entry of a newer version is skipped", &[]),
    case(79, "One bad entry ends every node", &[]),
    case(80, "Keys are handed to somebody who is no member, or twice", &[HANDOVER]),
    case(81, "A secret leaves before its record is committed", &[]),
    case(82, "The record cannot be committed, and the request is answered", &[]),
    case(83, "A value stands in a record", &[]),
    case(84, "An error or a log repeats what could not be read", &[]),
    case(85, "A refusal leaves no record, or a flood of them fills the log", &[]),
    case(86, "What operators do leaves no record", &[]),
    case(87, "A record is deleted, moved, edited or cut off", &[]),
    case(88, "A text writes lines or fields of its own into a log", &[]),
    case(89, "The logs of two nodes differ at one index", &[]),
    case(90, "A client chooses where audit records are written", &[]),
    case(91, "A client turns auditing off", &[]),
    case(92, "Sizes, depths and counts beyond all measure", &[]),
    case(93, "A small message unpacks to a huge one", &[]),
    case(94, "Connections that begin and say nothing", &[]),
    case(95, "Floods of HTTP/2 frames", &[]),
    case(96, "A body without a length", &[]),
    case(97, "One client makes a million of everything", &[LEASES]),
    case(98, "A huge directory is listed at once", &[]),
    case(99, "A pattern takes longer than it is long", &[]),
    case(100, "Passwords take all processors", &[]),
    case(101, "A panic in a request stops others; one in apply is survived", &[FAULT_POINTS]),
    case(102, "A client hangs up in the middle", &[LEASES]),
    case(103, "Any decoder is fed with anything", &[]),
    case(104, "A certificate that looks like another logs in", &[]),
    case(105, "A token of one certificate is renewed with another", &[]),
    case(106, "A revoked certificate is taken while the list is missing", &[]),
    case(107, "A request for a certificate has names that the role does not allow", &[PKI]),
    case(108, "Something is said in plain text, or by an older TLS between nodes", &[]),
    case(109, "A request rides on a resumed session", &[]),
    case(110, "Ciphertext is moved to another place", &[]),
    case(111, "A disk is put back to an earlier copy", &[]),
    case(112, "A nonce comes twice, or is chosen by a caller", &[TRANSIT]),
    case(113, "A key is used more often than it may be", &[]),
    case(114, "A destroyed version is read", &[ERASURE]),
    case(115, "A file can be read by others", &[]),
    case(116, "A name or value lies in a file", &[]),
    case(117, "A name writes SQL", &[LEASES]),
    case(118, "A crash leaves a credential that nobody revokes", &[LEASES]),
];
