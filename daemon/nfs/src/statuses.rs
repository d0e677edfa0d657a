//! Declares the status codes of a version in one list: number, name for metrics, meaning.
//!
//! Invariant: a status has one line, so its number, its name and its place cannot differ. Not
//! promised: an order; each version's test sees to that.

/// The codes of one version, as an enum with their list, numbers and names.
macro_rules! statuses {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $($(#[$meaning:meta])* $status:ident = $number:literal, $label:literal;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$meaning])* $status = $number,)*
        }

        impl $name {
            /// Every status, in the order of their numbers; the metrics have one counter for each.
            pub const ALL: [Self; [$($number),*].len()] = [$(Self::$status),*];

            /// The number on the wire.
            #[must_use]
            pub fn number(self) -> u32 {
                self as u32
            }

            /// A short name in lower case, for metrics and logs.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$status => $label,)*
                }
            }
        }
    };
}

pub(crate) use statuses;
