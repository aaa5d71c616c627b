//! The JSON Schema of the manifest file, for editors.

use super::Manifest;

/// The JSON Schema of a manifest, generated from its types. `docs/manifest.schema.json` is this.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
