//! Files for TLS, of the listeners and of the connections to the upstream: reading them, and reading them again.

mod pem;
mod reread;

pub(crate) use self::{
    pem::{FileError, certificates, expiry, key, roots},
    reread::{Reread, Stamp, stamp},
};
