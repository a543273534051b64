//! Reading JSON bodies: what is missing is none, what is of the wrong type is refused, and nothing panics.

use serde_json::{Map, Value};

use crate::model::arm::error::ArmError;
use crate::request::Request;

/// The body of a request.
#[derive(Debug, Clone)]
pub(crate) struct Body(Value);

impl Body {
    /// Reads a body, which is an object.
    pub(crate) fn read(request: &Request) -> Result<Self, ArmError> {
        let bad = |why: String| ArmError::new(400, "InvalidRequestContent", format!("The request content is {why}."));
        match serde_json::from_slice::<Value>(request.body.bytes()) {
            Ok(value) if value.is_object() => Ok(Self(value)),
            Ok(_) => Err(bad("not an object".to_owned())),
            Err(error) => Err(bad(format!("not valid JSON: {error}"))),
        }
    }

    /// What is at a path such as `properties.creationData`; null counts as absent.
    pub(crate) fn get(&self, path: &str) -> Option<&Value> {
        let found = path.split('.').try_fold(&self.0, |value, name| value.get(name));
        found.filter(|value| !value.is_null())
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> Result<Option<&str>, ArmError> {
        self.typed(path, "a string", Value::as_str)
    }

    /// The number at a path, which is not negative.
    pub(crate) fn number(&self, path: &str) -> Result<Option<u64>, ArmError> {
        self.typed(path, "a whole number", Value::as_u64)
    }

    /// The truth at a path.
    pub(crate) fn flag(&self, path: &str) -> Result<Option<bool>, ArmError> {
        self.typed(path, "true or false", Value::as_bool)
    }

    /// The object at a path.
    pub(crate) fn object(&self, path: &str) -> Result<Option<&Map<String, Value>>, ArmError> {
        self.typed(path, "an object", Value::as_object)
    }

    /// The text at a path that must be there.
    pub(crate) fn needed(&self, path: &str) -> Result<&str, ArmError> {
        self.text(path)?.ok_or_else(|| ArmError::bad(format!("Required parameter '{path}' is missing (null).")))
    }

    fn typed<'v, T>(
        &'v self,
        path: &str,
        what: &str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, ArmError> {
        let bad = |path: &str, what| ArmError::bad(format!("The value of parameter {path} is not {what}."));
        for (end, _) in path.match_indices('.') {
            let outer = &path[..end];
            if self.get(outer).is_some_and(|value| !value.is_object()) {
                return Err(bad(outer, "an object"));
            }
        }
        let Some(value) = self.get(path) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| bad(path, what))
    }
}
