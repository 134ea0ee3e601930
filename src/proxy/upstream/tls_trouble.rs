//! What a failed TLS handshake means, in a closed list: `details.trouble` of an error.

use std::{error, fmt, io, iter::successors};

use rustls::{AlertDescription, CertificateError, Error};

/// Why there was no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsTrouble {
    /// The certificate is for other names.
    Name,
    /// Nobody who is trusted vouches for the certificate.
    Authority,
    /// The certificate has ended, or has not begun.
    Time,
    /// Something else is wrong with the certificate.
    Certificate,
    /// The upstream wants a certificate, or another one.
    Client,
    /// No common version or cipher, or no TLS at all.
    Protocol,
}

impl TlsTrouble {
    /// Finds out what an error of a handshake means.
    pub(super) fn of(error: &io::Error) -> Self {
        match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(wrong)) => Self::of_certificate(wrong),
            Some(Error::UnsupportedNameType) => Self::Name,
            Some(Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied,
            )) => Self::Client,
            _ => Self::Protocol,
        }
    }

    /// Whether the upstream refused this client's certificate in the midst of a request: over TLS 1.3, the client's part of
    /// the handshake is over by then.
    pub(super) fn refused_later(error: &(dyn error::Error + 'static)) -> Option<Self> {
        successors(Some(error), |&error| error.source())
            .filter_map(|cause| cause.downcast_ref())
            .map(Self::of)
            .find(|trouble| *trouble == Self::Client)
    }

    const fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::Name,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Authority,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Time,
            _ => Self::Certificate,
        }
    }

    /// The name in errors and in the log. It never changes.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Authority => "authority",
            Self::Time => "time",
            Self::Certificate => "certificate",
            Self::Client => "client-certificate",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for TlsTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "its certificate is for other names",
            Self::Authority => "no known authority vouches for its certificate",
            Self::Time => "its certificate has ended, or has not begun",
            Self::Certificate => "its certificate is of no use",
            Self::Client => "it wants a certificate, or another one",
            Self::Protocol => "it speaks no TLS that is known here",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_told_apart() {
        let certificate = Error::InvalidCertificate;
        for (error, trouble) in [
            (certificate(CertificateError::NotValidForName), "name"),
            (certificate(CertificateError::UnknownIssuer), "authority"),
            (certificate(CertificateError::Expired), "time"),
            (certificate(CertificateError::NotValidYet), "time"),
            (certificate(CertificateError::Revoked), "certificate"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "client-certificate"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "client-certificate"),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), "protocol"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), "protocol"),
            (Error::DecryptError, "protocol"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(TlsTrouble::of(&error).as_str(), trouble, "{error}");
        }
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(TlsTrouble::of(&closed), TlsTrouble::Protocol);
    }
}
