//! Proves that an image holds no secret and nothing of the machine it was made on.
//!
//! | file | what |
//! |---|---|
//! | `finding` | what is wrong with an image, and what was allowed and why |
//! | `secrets` | private keys, tokens and passwords, by a kept rule set, in every file that no package brought |
//!
//! Nothing here reads a file itself: [`host::image`](crate::host::image) does.

pub(crate) mod finding;
pub(crate) mod secrets;
