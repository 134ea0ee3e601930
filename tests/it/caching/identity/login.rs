//! Who issues tokens: an RSA key, and a server or a file of its public part.

use std::process::Command;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};

pub(super) const ISSUER: &str = "https://login.example.com/";
pub(super) const AUDIENCE: &str = "https://api.example.com";

/// The settings of keys, but for where they are.
pub(super) fn jwks(source: &str) -> String {
    format!("[jwks]\n{source}\nissuer = [\"{ISSUER}\"]\naudience = [\"{AUDIENCE}\"]\n")
}

/// Signs tokens.
pub(super) struct Login {
    key: RsaKeyPair,
    pub(super) id: String,
}

impl Login {
    pub(super) fn new(id: &str) -> Self {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        let made = openssl.output().expect("openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let key = PrivatePkcs8KeyDer::from_pem_slice(&made.stdout).expect("a key in PEM");
        let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("a key");
        Self { key, id: id.to_owned() }
    }

    /// The public key in DER.
    pub(super) fn public(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    pub(super) fn jwk(&self) -> Value {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.key.public());
        let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
    }

    pub(super) fn set(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }

    /// A token with these parts.
    pub(super) fn sign_parts(&self, head: &Value, payload: &str) -> String {
        encoded(head, payload, |text| {
            let mut signature = vec![0; self.key.public().modulus_len()];
            let signed = self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature);
            signed.expect("a signature");
            signature
        })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, payload: &Value) -> String {
        self.sign_parts(&json!({"alg": "RS256", "typ": "at+jwt", "kid": self.id}), &payload.to_string())
    }

    /// The `number`th token of this member of a tenant.
    pub(super) fn token(&self, tenant: &str, number: usize) -> String {
        self.sign(&claims(tenant, number))
    }
}

pub(super) fn encoded(head: &Value, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// The claims of a token that holds for an hour.
pub(super) fn claims(tenant: &str, number: usize) -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": [AUDIENCE, "https://other.example.com"], "sub": format!("user-of-{tenant}"),
        "tenant_id": tenant, "iat": now, "nbf": now - 60, "exp": now + 3600, "jti": number,
    })
}

/// In Unix seconds.
pub(super) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a time after 1970").as_secs()
}
