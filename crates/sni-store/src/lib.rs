//! Part of the certwright family.
