//! The OpenAPI description of the service: its endpoints, and the record schema of the current
//! model.

use serde_json::{Map, Value, json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{OpenApi, ToSchema};

use super::Limits;
use super::published::Ready;
use super::refusal::{Problem, Refusal};
use super::routes::paths;

/// A record, or an array of records.
#[derive(ToSchema)]
#[allow(dead_code)] // its schema is that of the model's features
pub struct Records;

/// Binary data of the stated media type.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)] // for the description
pub struct Binary(Vec<u8>);

#[derive(OpenApi)]
#[openapi(
    info(title = "feamoe serve", description = "Scores, explanations and recourse by a feamoe model"),
    paths(
        paths::score,
        paths::explain,
        paths::recourse,
        paths::model,
        paths::publish,
        paths::health,
        paths::ready,
        paths::metrics,
        paths::description,
    ),
    components(schemas(Problem))
)]
struct Description;

/// Describes the service. `groups` are the columns by which decisions are counted. `is_open` states
/// whether other machines can reach the service; all endpoints but the free ones then need the
/// token.
pub fn description(ready: &Ready<'_>, groups: &[String], limits: &Limits, is_open: bool) -> Result<String, Refusal> {
    let mut description = Description::openapi();
    let token = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    description.components.get_or_insert_default().add_security_scheme("token", token);
    let mut description = serde_json::to_value(description).map_err(Refusal::internal)?;
    if let Some(schemas) = description.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.insert("Record".into(), record(ready, groups));
        let one = json!({ "$ref": "#/components/schemas/Record" });
        let many = json!({ "type": "array", "items": one, "maxItems": limits.records });
        schemas.insert("Records".into(), json!({ "oneOf": [one, many] }));
    }
    if is_open {
        if let Some(all) = description.as_object_mut() {
            all.insert("security".into(), json!([{ "token": [] }]));
        }
        for path in ["/paths/~1health/get", "/paths/~1ready/get"] {
            if let Some(free) = description.pointer_mut(path).and_then(Value::as_object_mut) {
                free.insert("security".into(), json!([]));
            }
        }
    }
    Ok(description.to_string())
}

/// Returns the JSON Schema of a record. Every feature is optional: an absent one is a missing
/// value.
fn record(ready: &Ready<'_>, groups: &[String]) -> Value {
    let group = |column: &String| (column.clone(), json!({ "type": ["string", "number", "boolean", "null"] }));
    let mut properties: Map<String, Value> = groups.iter().map(group).collect();
    for feature in ready.names.features() {
        let kind = if feature.levels.is_some() { "string" } else { "number" };
        properties.insert(feature.name.to_owned(), json!({ "type": [kind, "null"] }));
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}
