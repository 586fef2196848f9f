//! The description of the interface (OpenAPI 3.1), made of the routes and of the types that they read and write.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::engine::Services;
use crate::problem::HttpProblem;

/// Describes a type, and puts what it is made of among the definitions.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// What one method does at an address.
pub(super) struct Operation {
    method: &'static str,
    tag: &'static str,
    summary: &'static str,
    query: Option<Describe>,
    body: Option<Describe>,
    answer: Option<Describe>,
    kind: &'static str,
}

impl Operation {
    /// An operation that answers with JSON of the type `A`.
    pub(super) fn new<A: JsonSchema>(method: &'static str, tag: &'static str, summary: &'static str) -> Self {
        let answer: Describe = SchemaGenerator::subschema_for::<A>;
        let kind = "application/json";
        Self { method, tag, summary, query: None, body: None, answer: Some(answer), kind }
    }

    /// An operation that answers with something else, such as `image/jpeg`.
    pub(super) fn file(tag: &'static str, summary: &'static str, kind: &'static str) -> Self {
        Self { method: "get", tag, summary, query: None, body: None, answer: None, kind }
    }

    /// An operation that answers with server-sent events.
    pub(super) fn events(tag: &'static str, summary: &'static str) -> Self {
        Self { method: "post", ..Self::file(tag, summary, "text/event-stream") }
    }

    /// The same, with a body of JSON of the type `B`.
    pub(super) fn body<B: JsonSchema>(self) -> Self {
        Self { body: Some(SchemaGenerator::subschema_for::<B>), ..self }
    }

    /// The same, with the fields of `Q` after the `?`.
    pub(super) fn query<Q: JsonSchema>(self) -> Self {
        Self { query: Some(|generator| generator.root_schema_for::<Q>()), ..self }
    }

    fn describe(&self, path: &str, generator: &mut SchemaGenerator) -> Value {
        let mut parameters = path_parameters(path);
        if let Some(query) = self.query {
            parameters.extend(query_parameters(&query(generator)));
        }
        let content = match self.answer {
            Some(answer) => json!({ self.kind: { "schema": answer(generator) } }),
            None => json!({ self.kind: {} }),
        };
        let problem = generator.subschema_for::<HttpProblem>();
        let problem = json!({
            "description": "What was wrong", "content": { "application/problem+json": { "schema": problem } },
        });
        let mut described = json!({
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": parameters,
            "responses": {
                "200": { "description": "The answer", "content": content },
                "4XX": problem,
                "5XX": problem,
            },
        });
        if let Some(body) = self.body {
            let content = json!({ "application/json": { "schema": body(generator) } });
            described["requestBody"] = json!({ "required": true, "content": content });
        }
        described
    }
}

/// The variable parts of an address: `id` is a number, all others are names.
fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameter = |name: &str| {
        let schema = match name {
            "id" => json!({ "type": "integer", "minimum": 0 }),
            _ => json!({ "type": "string" }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    names.map(parameter).collect()
}

fn query_parameters(schema: &Schema) -> Vec<Value> {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required = schema.get("required").and_then(Value::as_array);
    let parameter = |(name, property): (&String, &Value)| {
        let needed = required.is_some_and(|required| required.iter().any(|needed| needed == name));
        let mut described = json!({ "name": name, "in": "query", "required": needed, "schema": property });
        if let Some(text) = property.get("description") {
            described["description"] = text.clone();
        }
        described
    };
    properties.iter().map(parameter).collect()
}

/// Routes, each with what it does.
pub(super) struct DescribedRoutes {
    router: Router<Arc<Services>>,
    generator: SchemaGenerator,
    paths: Map<String, Value>,
    prefix: &'static str,
}

impl DescribedRoutes {
    /// None yet; all addresses will begin with `prefix`.
    pub(super) fn below(prefix: &'static str) -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = "/components/schemas".into());
        Self { router: Router::new(), generator: settings.into_generator(), paths: Map::new(), prefix }
    }

    /// The same, with what `handler` does at `path`.
    pub(super) fn route(
        mut self,
        path: &str,
        handler: MethodRouter<Arc<Services>>,
        operation: &Operation,
    ) -> Self {
        let path = format!("{}{path}", self.prefix);
        let described = operation.describe(&path, &mut self.generator);
        let operations = self.paths.entry(path.clone()).or_insert_with(|| json!({}));
        operations[operation.method] = described;
        Self { router: self.router.route(&path, handler), ..self }
    }

    /// The routes, and their description.
    pub(super) fn finish(mut self) -> (Router<Arc<Services>>, Value) {
        let description = json!({
            "openapi": "3.1.0",
            "info": {
                "title": "relens",
                "version": env!("CARGO_PKG_VERSION"),
                "description": "Image search that understands people. Errors are problem details (RFC 9457).",
            },
            "paths": self.paths,
            "components": { "schemas": self.generator.take_definitions(true) },
        });
        (self.router, description)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_reference_of_the_description_leads_somewhere() {
        let (_, description) = super::super::router();
        let text = description.to_string();
        let references: Vec<&str> =
            text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(references.len() > 20);
        for reference in references {
            assert!(description.pointer(reference).is_some(), "{reference}");
        }
        let k = &description["paths"]["/api/v1/images/{id}/similar"]["get"]["parameters"][1];
        assert_eq!((&k["name"], &k["in"], &k["required"]), (&"k".into(), &"query".into(), &false.into()));
    }
}
