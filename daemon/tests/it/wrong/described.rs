//! What the description says of routes and of what they take in their queries.

use mica_api::DESCRIPTION;
use serde_json::Value;

/// A described route.
pub(super) struct Route {
    pub(super) method: String,
    /// Its path as it is described.
    pub(super) template: String,
    pub(super) query: Vec<Parameter>,
}

/// Something in a query.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) is_required: bool,
    /// Whether it is a number or JSON, so that not every text is right.
    pub(super) is_typed: bool,
    /// Of filters the keys.
    pub(super) keys: Vec<String>,
}

impl Route {
    /// Method and path, as tables name the route.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    /// A path that leads to it.
    pub(super) fn path(&self) -> String {
        let parts = self.template.split(['{', '}']).enumerate();
        let filled = parts.map(|(at, part)| match (at % 2, part) {
            (0, part) => part,
            (_, "build") => "000000000000",
            _ => "some",
        });
        filled.collect()
    }

    /// A request whose query has all that is required, and this.
    pub(super) fn target(&self, name: &str, value: &str) -> String {
        let required = self
            .query
            .iter()
            .filter(|own| own.is_required && own.name != name);
        let required: String = required.map(|own| format!("{}=a:1&", own.name)).collect();
        format!("{}?{required}{name}={value}", self.path())
    }
}

/// Every described route.
pub(super) fn routes() -> Vec<Route> {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let follow = |value: &Value| match value["$ref"].as_str() {
        Some(reference) => description.pointer(&reference[1..]).unwrap().clone(),
        None => value.clone(),
    };
    let mut routes = Vec::new();
    for (template, item) in description["paths"].as_object().unwrap() {
        let item = follow(item);
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| *key != "parameters")
        {
            let parameters = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(follow);
            routes.push(Route {
                method: method.to_uppercase(),
                template: template.clone(),
                query: parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| read(&parameter))
                    .collect(),
            });
        }
    }
    routes
}

fn read(parameter: &Value) -> Parameter {
    let json = parameter.pointer("/content/application~1json/schema");
    let keys = json.and_then(|schema| schema["properties"].as_object());
    let name = parameter["name"].as_str().unwrap().to_owned();
    Parameter {
        is_required: parameter["required"] == true,
        is_typed: json.is_some() || parameter["schema"]["type"] == "integer",
        keys: keys
            .filter(|_| name == "filters")
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default(),
        name,
    }
}
