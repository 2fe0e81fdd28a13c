//! What can be wrong with a request.

use rt::{Error, ServiceError};

macro_rules! net_errors {
    ($($(#[doc = $doc:literal])* $name:ident = $code:expr, $text:literal;)+) => {
        /// Why the stack refused a request. Nothing has changed then.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum NetError {
            $($(#[doc = $doc])* $name = $code,)+
        }

        impl NetError {
            const ALL: &[NetError] = &[$(NetError::$name),+];
        }

        impl core::fmt::Display for NetError {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $(NetError::$name => $text,)+
                })
            }
        }
    };
}

net_errors! {
    /// Not ready: the client is notified when asking again makes sense.
    WouldBlock = Error::WouldBlock as u32, "not ready: ask again";
    /// A lent buffer that cannot be reached.
    BadRange = Error::BadRange as u32, "a buffer is not in the caller's own memory";
    /// The session has no socket with this number, or it is of another kind.
    NoSuchSocket = 0x100, "no socket of this kind has this number";
    /// The session has all sockets of this kind that it may have.
    TooManySockets = 0x101, "too many sockets in this session: close one, or bind once more";
    /// Another socket has the port.
    PortInUse = 0x102, "the port is in use";
    /// The address is none that a packet can be sent to, or there is no own address of its family.
    Unreachable = 0x103, "the address cannot be reached from here";
    /// The peer, or nobody, ended the connection.
    Reset = 0x104, "the connection was reset";
    /// The connection is closed for sending.
    Closed = 0x105, "the connection is closed";
    /// The record in the lent buffer is none.
    BadRecord = 0x106, "the buffer holds no such record, or is too short for one";
    /// The datagram is longer than the socket can hold.
    TooLong = 0x107, "the datagram is too long";
    /// It is no name that can be asked for.
    BadName = 0x108, "not a name that a server can be asked for";
    /// The name has no address of this kind, or no server answered.
    NoAnswer = 0x109, "no server knows an address for the name";
    /// There is no name server to ask.
    NoServer = 0x10a, "no name server is known: is there a network?";
}

impl From<Error> for NetError {
    fn from(_: Error) -> Self {
        // The only kernel calls of a method are those that copy lent buffers.
        NetError::BadRange
    }
}

impl ServiceError for NetError {
    fn code(&self) -> u32 {
        *self as u32
    }

    fn from_code(code: u32) -> Option<Self> {
        // Codes of the kernel reach the client as the kernel's.
        let own = |error: &&NetError| error.code() == code && code >= rt::abi::error::SERVICE_ERRORS;
        Self::ALL.iter().find(own).copied()
    }
}

impl core::error::Error for NetError {}

#[cfg(test)]
mod tests {
    use rt::CallError;

    use super::*;

    #[test]
    fn codes_are_found_again() {
        assert!(CallError::<NetError>::from_code(NetError::WouldBlock.code()).would_block());
        for error in NetError::ALL.iter().filter(|error| error.code() >= 0x100) {
            assert_eq!(NetError::from_code(error.code()), Some(*error));
        }
        assert_eq!(NetError::from_code(0x1ff), None);
    }
}
