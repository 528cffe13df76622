//! RFC 6455 to the letter, case by case as the Autobahn test suite has them (which runs on Python 2 only).
//!
//! Autobahn talks to a server that echoes. This one speaks a binary protocol, so each group is mapped:
//!
//! | group | Autobahn | here |
//! |---|---|---|
//! | 1 | text and binary messages of 0 to 65536 bytes come back | binary ones are read: a `Hello` of that size is welcomed; text is refused with 1003 |
//! | 2 | pings, pongs, their sizes and order | the same |
//! | 3 | reserved bits | the same: 1002 |
//! | 4 | reserved opcodes | the same: 1002 |
//! | 5 | fragmentation, control frames between fragments | the same with binary messages: a fragmented `Ping` has its `Pong`; text is refused at its first fragment |
//! | 6 | valid and invalid UTF-8 in text | text is refused: 1003, or 1007 where the encoding is found wrong first |
//! | 7 | closing: codes, reasons, order, what comes after | the same |
//! | 9 | messages to 16 MiB, fragmented and chopped, many in a row | the same within the limits: noise as PNG, whose checksums tell whether every byte arrived; beyond the limit 1009 |
//! | 10 | automatic fragmentation | the same |
//! | 12, 13 | permessage-deflate | not offered: declined, and its bit is refused |

#![allow(clippy::unwrap_used, reason = "tests")]

mod closing;
mod control;
mod framing;
mod limits;
mod peer;
mod suite;

#[path = "../server/checkpoint.rs"]
mod checkpoint;
#[allow(dead_code, reason = "shared with the tests of the server, which use all of it")]
#[path = "../server/support.rs"]
mod support;
