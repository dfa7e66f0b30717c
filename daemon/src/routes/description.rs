//! `GET /mica/openapi.json`: what is served, as OpenAPI describes it.

use hyper::StatusCode;
use mica_api::DESCRIPTION;

use crate::wire::reply::{JSON, Reply, whole};

/// The description, the same for every version of the API.
pub(crate) fn description() -> Reply {
    whole(StatusCode::OK, JSON, DESCRIPTION)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mica_api::{API_VERSION, BuildInput, DESCRIPTION};
    use serde_json::Value;

    use crate::rights::Right;
    use crate::router::{Route, route};

    const METHODS: [&str; 5] = ["GET", "HEAD", "POST", "PUT", "DELETE"];

    /// A method and a path, its parameters as `{}`.
    type Door = (String, String);

    fn description() -> Value {
        serde_json::from_str(DESCRIPTION).unwrap()
    }

    /// What the description says of each path, references followed.
    fn items(description: &Value) -> Vec<(&str, &Value)> {
        let item = |item| match Value::get(item, "$ref").and_then(Value::as_str) {
            Some(reference) => description.pointer(&reference[1..]).unwrap(),
            None => item,
        };
        let paths = description["paths"].as_object().unwrap();
        paths
            .iter()
            .map(|(path, own)| (path.as_str(), item(own)))
            .collect()
    }

    /// Names of parameters say nothing of where a path leads.
    fn nameless(path: &str) -> String {
        let mut out = String::new();
        for part in path.split_inclusive('}') {
            match part.split_once('{') {
                Some((before, _)) => out.push_str(&format!("{before}{{}}")),
                None => out.push_str(part),
            }
        }
        out
    }

    fn described() -> BTreeSet<Door> {
        let description = description();
        let mut doors = BTreeSet::new();
        for (path, item) in items(&description) {
            let methods = item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters");
            doors.extend(methods.map(|method| (method.to_uppercase(), nameless(path))));
        }
        doors
    }

    /// The words of alternatives, `"a" | "b"`.
    fn words(text: &str) -> Vec<&str> {
        text.split('|')
            .map(|word| word.trim().trim_matches('"'))
            .collect()
    }

    /// The doors of the router's match, read from its source: a door nobody described must not go unnoticed.
    fn routed() -> BTreeSet<Door> {
        let source = include_str!("../router.rs");
        let arms = source.split_once("Some(match").unwrap().1;
        let arms = arms.split_once("_ => return None").unwrap().0;
        let mut doors = BTreeSet::new();
        for (at, _) in arms.match_indices('[').skip(1) {
            let before = &arms[..at];
            let methods = before[before.rfind('(').unwrap() + 1..]
                .trim()
                .trim_end_matches(',');
            let methods = match words(methods)[..] {
                ["_"] => METHODS.to_vec(),
                ["OPTIONS"] => continue,
                ref methods => methods.to_vec(),
            };
            let segments = &arms[at + 1..at + arms[at..].find(']').unwrap()];
            let mut paths = vec![String::new()];
            for segment in segments
                .split(',')
                .map(str::trim)
                .filter(|segment| !segment.is_empty())
            {
                let add = |segment: &str| -> Vec<String> {
                    paths.iter().map(|path| format!("{path}/{segment}")).collect()
                };
                paths = match segment {
                    // anything below, or nothing
                    ".." => add("{}").into_iter().chain(paths.clone()).collect(),
                    literal if literal.starts_with('"') => words(literal).into_iter().flat_map(add).collect(),
                    _ => add("{}"),
                };
            }
            for method in methods {
                doors.extend(paths.iter().map(|path| (method.to_owned(), path.clone())));
            }
        }
        doors
    }

    #[test]
    fn every_door_is_described_and_nothing_else() {
        let (described, routed) = (described(), routed());
        let missing: Vec<_> = routed.difference(&described).collect();
        let invented: Vec<_> = described.difference(&routed).collect();
        assert!(missing.is_empty(), "not described: {missing:?}");
        assert!(invented.is_empty(), "described, but not there: {invented:?}");
    }

    #[test]
    fn every_door_says_which_right_it_needs_and_that_it_may_be_missing() {
        let description = description();
        let mut seen = BTreeSet::new();
        for (path, item) in items(&description) {
            for (method, operation) in item
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, _)| *key != "parameters")
            {
                let example = nameless(path).replace("{}", "some");
                let to = route(&method.to_uppercase().parse().unwrap(), &example).unwrap();
                assert_eq!(operation["x-mica-right"], to.right().word(), "{method} {path}");
                assert!(operation["responses"].get("403").is_some(), "{method} {path}");
                let counted = nameless(to.template());
                assert!(
                    items(&description)
                        .iter()
                        .any(|(path, _)| nameless(path) == counted),
                    "{counted}"
                );
                seen.insert(to.right());
            }
        }
        assert_eq!(seen, BTreeSet::from([Right::Read, Right::Build, Right::Full]));
    }

    #[test]
    fn no_described_door_is_hidden_by_another() {
        let mut seen: Vec<(Route, String)> = Vec::new();
        for (method, path) in described() {
            let path = path.replace("{}", "some");
            let to = route(&method.parse().unwrap(), &path);
            let to = to.unwrap_or_else(|| panic!("{method} {path} leads nowhere"));
            let shared = matches!(
                to,
                Route::Ping
                    | Route::Grpc
                    | Route::NotHere(_)
                    | Route::NoContainer(_)
                    | Route::NoNetwork(_)
                    | Route::NoVolume(_)
                    | Route::Swarm
            );
            let twin = seen.iter().find(|(route, _)| *route == to && !shared);
            assert_eq!(twin, None, "{method} {path}");
            seen.push((to, path));
        }
    }

    #[test]
    fn every_path_names_its_parameters_and_every_reference_leads_somewhere() {
        let description = description();
        assert_eq!(description["info"]["version"], API_VERSION);
        let mut references = BTreeSet::new();
        let mut values = vec![&description];
        while let Some(value) = values.pop() {
            match value {
                Value::Object(object) => values.extend(object.values()),
                Value::Array(array) => values.extend(array),
                _ => {}
            }
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                assert!(description.pointer(&reference[1..]).is_some(), "{reference}");
                references.insert(reference);
            }
        }
        for (kind, components) in description["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(
                    references.contains(reference.as_str()),
                    "nothing speaks of {reference}"
                );
            }
        }
        for (path, item) in items(&description) {
            let wanted: BTreeSet<&str> = path
                .split('{')
                .skip(1)
                .filter_map(|part| part.split('}').next())
                .collect();
            for (method, operation) in item
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, _)| *key != "parameters")
            {
                let lists = [&item["parameters"], &operation["parameters"]];
                let names = lists
                    .into_iter()
                    .filter_map(Value::as_array)
                    .flatten()
                    .filter_map(|parameter| {
                        let reference = parameter["$ref"].as_str();
                        let parameter =
                            reference.map_or(parameter, |to| description.pointer(&to[1..]).unwrap());
                        (parameter["in"] == "path").then(|| parameter["name"].as_str().unwrap())
                    });
                assert_eq!(names.collect::<BTreeSet<_>>(), wanted, "{method} {path}");
            }
        }
    }
    #[test]
    fn what_a_client_hands_over_is_described_as_it_is_read() {
        let description = description();
        let described = description["components"]["schemas"]["BuildInput"]["properties"]
            .as_object()
            .unwrap();
        let read = serde_json::to_value(BuildInput::default()).unwrap();
        let read: BTreeSet<&String> = read.as_object().unwrap().keys().collect();
        assert_eq!(described.keys().collect::<BTreeSet<_>>(), read);
    }
}
