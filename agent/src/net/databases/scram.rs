//! SCRAM-SHA-256, PostgreSQL's password authentication; the cryptography is ring's.
//!
//! Source: RFC 5802 and RFC 7677. Without channel binding, and without SASLprep, which leaves an ASCII password
//! unchanged.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::digest::Sha256;

/// The header for "no channel binding": it precedes the first message and is sent in base64 in the second one.
const HEADER: &str = "n,,";
const HEADER_IN_BASE64: &str = "biws";

/// The highest accepted iteration count. A server that asks for more only wastes this machine's time: PostgreSQL's
/// default is 4096.
const MOST_ROUNDS: u32 = 1_000_000;

/// An exchange that has started.
pub(super) struct Scram {
    nonce: String,
}

/// An exchange in which the server still has to prove that it knows the password too.
pub(super) struct Proven {
    pub(super) message: Zeroizing<Vec<u8>>,
    server_signature: Zeroizing<Vec<u8>>,
}

impl Scram {
    pub(super) fn new() -> Result<Self, &'static str> {
        let mut bytes = [0; 18];
        SystemRandom::new().fill(&mut bytes).map_err(|_| "the system provides no random numbers")?;
        Ok(Self { nonce: STANDARD.encode(bytes) })
    }

    /// The first message. PostgreSQL takes the user name from the startup message and ignores one given here.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("{HEADER}{}", self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The answer to the server's first message.
    ///
    /// # Errors
    ///
    /// A short description of what is wrong with that message.
    pub(super) fn answer(&self, challenge: &[u8], password: &[u8]) -> Result<Proven, &'static str> {
        const WRONG: &str = "its SCRAM challenge is not valid";
        let challenge = std::str::from_utf8(challenge).map_err(|_| WRONG)?;
        let mut fields = challenge.split(',');
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(WRONG)?;
        let salt = fields.next().and_then(|field| field.strip_prefix("s=")).ok_or(WRONG)?;
        let rounds = fields.next().and_then(|field| field.strip_prefix("i=")).ok_or(WRONG)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("its SCRAM challenge is for another client");
        }
        let salt = STANDARD.decode(salt).map_err(|_| WRONG)?;
        let rounds: NonZeroU32 = rounds.parse().map_err(|_| WRONG)?;
        if rounds.get() > MOST_ROUNDS {
            return Err("it asks for too many SCRAM rounds");
        }
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut *salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let without_proof = format!("c={HEADER_IN_BASE64},r={nonce}");
        let exchange = format!("{},{challenge},{without_proof}", self.first_bare());
        let client_key = sign(&*salted, b"Client Key");
        let Sha256(stored_key) = Sha256::of(client_key.as_ref());
        let signature = sign(&stored_key, exchange.as_bytes());
        let proof: Zeroizing<Vec<u8>> =
            Zeroizing::new(client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, signature)| key ^ signature).collect());
        let server_key = sign(&*salted, b"Server Key");
        let server_signature = Zeroizing::new(sign(server_key.as_ref(), exchange.as_bytes()).as_ref().to_vec());
        let message = Zeroizing::new(format!("{without_proof},p={}", STANDARD.encode(&*proof)).into_bytes());
        Ok(Proven { message, server_signature })
    }
}

impl Proven {
    /// Whether the server's last message shows that it knows the password.
    pub(super) fn is_answered_by(&self, last: &[u8]) -> bool {
        let signature = last.strip_prefix(b"v=").and_then(|signature| STANDARD.decode(signature).ok());
        signature.is_some_and(|signature| signature == *self.server_signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3, except for the user name, which PostgreSQL does not use.
    #[test]
    fn proves_the_password_and_has_the_server_prove_it() {
        let scram = Scram { nonce: "rOprNGfwEbeRWgbNEkqO".into() };
        assert_eq!(scram.first(), b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let proven = scram.answer(challenge, b"pencil").unwrap();
        // Computed with Python's hashlib and hmac.
        assert_eq!(
            std::str::from_utf8(&proven.message).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=qvT2SWdEH5Q06albL+hjSYuUhCG7VndFyzIb7CK4n9k="
        );
        assert!(proven.is_answered_by(b"v=3HO6Qt1M4MKJrmlKaoOqLAI0/0TV0HZe7J9H3MBtSOg="));
        assert!(!proven.is_answered_by(b"v=AAAA") && !proven.is_answered_by(b"e=other-error"));
    }

    #[test]
    fn refuses_a_challenge_that_is_not_for_it() {
        let scram = Scram { nonce: "mine".into() };
        for (challenge, why) in [
            ("r=other,s=AAAA,i=1", "another client"),
            ("r=mine,s=AAAA,i=1", "another client"),
            ("r=minex,s=!,i=1", "not valid"),
            ("r=minex,s=AAAA,i=0", "not valid"),
            ("r=minex,s=AAAA,i=4000000000", "too many"),
            ("", "not valid"),
        ] {
            let refused = scram.answer(challenge.as_bytes(), b"p").err().unwrap_or("taken");
            assert!(refused.contains(why), "{challenge}: {refused}");
        }
    }
}
