//! Variables in the order they were first set.

/// Variables in the order they were first set; a new value takes the old one's place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

/// What a process gets if the image says nothing of it.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Environment {
    /// Reads `NAME=value` texts; a text without `=` is a name with an empty value.
    pub(crate) fn of(texts: &[String]) -> Self {
        let mut environment = Self::default();
        for text in texts {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            environment.set(name, value);
        }
        environment
    }

    /// The value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Gives `name` a value.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// `NAME=value` texts in order.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    /// Looks names up for expansion.
    pub(crate) fn lookup(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |name| self.get(name).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_keeps_its_place() {
        let mut environment = Environment::of(&["A=1".into(), "B=x=y".into(), "C".into()]);
        environment.set("A", "2");
        assert_eq!(environment.texts(), ["A=2", "B=x=y", "C="]);
        assert_eq!(environment.get("B"), Some("x=y"));
        assert_eq!(environment.get("D"), None);
    }
}
