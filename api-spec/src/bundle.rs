//! Bundles: uploaded zips.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A bundle, as in layer 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Upload {
    /// Id of the bundle, used as `fileid`: the first 32 hex digits of the content's SHA-256.
    pub id: String,
}

/// Form of an upload.
#[derive(Debug, ToSchema)]
pub struct UploadPayload {
    /// The zip.
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
}

/// A zip as response body.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct ZipFile(pub Vec<u8>);

/// Details of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleDetails {
    /// Id of the bundle.
    pub id: String,
    /// Name of the uploaded file; absent when it was lost in a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Size of the zip in bytes; absent when it was lost in a crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Size of its content in bytes.
    pub unpacked_bytes: u64,
    /// Time of the upload.
    pub created_at: String,
    /// Files of the bundle, by path.
    pub files: Vec<BundleFile>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleFile {
    /// Path below `/atq/data`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
}
