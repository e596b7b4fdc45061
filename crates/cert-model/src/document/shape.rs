//! What a decoder asks a document for: the source of the schemas.

/// The shape of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Looked at without saying as what.
    Any,
    Bool,
    Int,
    List(Box<Self>),
    /// Free names, all of one shape.
    Map(Box<Self>),
    /// Known fields, in the order they are asked for.
    Object(Vec<(&'static str, Self)>),
    Text,
}

impl Shape {
    /// Becomes an object, unless it is one; its fields.
    pub(super) fn object(&mut self) -> &mut Vec<(&'static str, Self)> {
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(Vec::new());
        }
        match self {
            Self::Object(fields) => fields,
            _ => unreachable!("it was made one above"),
        }
    }

    /// Becomes a list; its element.
    pub(super) fn list(&mut self) -> &mut Self {
        *self = Self::List(Box::new(Self::Any));
        match self {
            Self::List(element) => element,
            _ => unreachable!("it was made one above"),
        }
    }

    /// Becomes a map; its values.
    pub(super) fn map(&mut self) -> &mut Self {
        *self = Self::Map(Box::new(Self::Any));
        match self {
            Self::Map(values) => values,
            _ => unreachable!("it was made one above"),
        }
    }

    /// The field `name` of an object, new if it was not asked for before.
    pub(super) fn field<'f>(
        fields: &'f mut Vec<(&'static str, Self)>,
        name: &'static str,
    ) -> &'f mut Self {
        let known = fields.iter().position(|(known, _)| *known == name);
        let at = known.unwrap_or_else(|| {
            fields.push((name, Self::Any));
            fields.len() - 1
        });
        &mut fields[at].1
    }
}
