//! Bundles, under their name of 2018.

use super::access::ChangeOf;
use super::app::App;
use super::detached::to_completion;
use super::error::{ApiError, RequestError};
use super::form::{self, Form};
use super::path::BundlePath;
use super::{body, view};
use atq_api_spec::bundle::{BundleDetails, Upload, UploadPayload};
use atq_api_spec::error::Problem;
use atq_bundle_store::{BundleError, Incoming, check_file_name};
use axum::extract::multipart::Field;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// Form field with the zip.
const FILE: &str = "file";

/// Uploads a zip, which definitions refer to as `fileid`.
///
/// The id is derived from the content: uploading the same zip again returns the same id.
#[utoipa::path(
    post,
    path = "/databind/upload",
    operation_id = "uploadDatabind",
    tag = "databind",
    request_body(content((UploadPayload = "multipart/form-data", encoding(("file" = (content_type = "application/zip"))))), description = "A form with the zip in its field `file`; the file name ends with `.zip`."),
    responses(
        (status = 200, description = "The zip is stored.", content(
            (Upload = "application/json", example = json!({"id": "0f343b0931126a20f133d67c2b018a3b"})),
            (Upload = "application/atq.databind.upload+json")
        ), links(
            ("getDatabind" = (operation_id = "getDatabind", parameters(("id" = "$response.body#/id")), description = "Show its files.")),
            ("deleteDatabind" = (operation_id = "deleteDatabind", parameters(("id" = "$response.body#/id")), description = "Remove it."))
        )),
        (status = 400, description = "The form is invalid, or has more than one file.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 413, description = "The zip is larger than `limits.uploadBytes`.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 415, description = "The request is not a form with a file, or the file is not a zip by its name or content.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 422, description = "The archive is damaged, or has an unsafe entry, which the response names.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 500, description = "The bundle cannot be stored.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 503, description = "`busy`: too many concurrent uploads and downloads; `Retry-After` contains the seconds to wait.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json"))),
        (status = 507, description = "`disk_full`: not enough free disk space.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json")))
    )
)]
pub async fn upload(
    State(app): State<App>,
    request: Request,
) -> Result<impl IntoResponse, ApiError> {
    let _slot = app.slots.bulk()?;
    let limit = app.bundles().limits().upload_bytes;
    let announced = body::content_length(request.headers()).unwrap_or(0);
    let mut form = Form::open(request).await?;
    if announced > limit.saturating_add(form::OVERHEAD) {
        return Err(BundleError::TooLarge { limit }.into());
    }
    app.bundles().check_room(announced).await?;
    let mut file = None;
    while let Some(field) = form.next(|name| name == FILE).await? {
        match (field.name() == Some(FILE), &file) {
            (true, None) => file = Some(receive(&app, field).await?),
            (true, Some(_)) => return Err(RequestError::ManyFiles.into()),
            (false, _) => form::skip(field).await?,
        }
    }
    let (incoming, name) = file.ok_or(RequestError::NoFile)?;
    let uploaded = incoming.finish(&name).await?;
    let id = uploaded.id.to_string();
    Ok((Extension(ChangeOf(id.clone())), Json(Upload { id })))
}

/// Receives the file. Removes it when dropped early.
async fn receive(app: &App, mut field: Field<'_>) -> Result<(Incoming, String), ApiError> {
    let path = field.file_name().unwrap_or_default();
    // Some browsers send the full path.
    let name = path
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_owned();
    check_file_name(&name)?;
    let mut incoming = app.bundles().begin().await?;
    while let Some(chunk) = form::chunk(&mut field).await? {
        incoming.write(&chunk).await?;
    }
    Ok((incoming, name))
}

/// Lists the uploads, newest first.
#[utoipa::path(
    get,
    path = "/databind/list",
    operation_id = "listDatabind",
    tag = "databind",
    responses(
        (status = 200, description = "All uploads.", content(
            (Vec<Upload> = "application/json", example = json!([{"id": "0f343b0931126a20f133d67c2b018a3b"}])),
            (Vec<Upload> = "application/atq.databind.upload+json; type=collection")
        ), links(
            ("getDatabind" = (operation_id = "getDatabind", parameters(("id" = "$response.body#/0/id")), description = "Show the files of the newest."))
        )),
        (status = 204, description = "There are no uploads."),
        (status = 500, description = "The bundles cannot be read.", content((Problem = "application/json"), (Problem = "application/atq.databind.upload+json; type=collection")))
    )
)]
pub async fn list(State(app): State<App>) -> Result<Response, ApiError> {
    let bundles = app.bundles().list().await?;
    if bundles.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let uploads = bundles.into_iter().map(|info| Upload {
        id: info.id.to_string(),
    });
    Ok(Json(uploads.collect::<Vec<_>>()).into_response())
}

/// Shows a bundle and its files.
#[utoipa::path(
    get,
    path = "/databind/{id}",
    operation_id = "getDatabind",
    tag = "databind",
    params(("id" = String, Path, description = "Id of the bundle.", example = "0f343b0931126a20f133d67c2b018a3b")),
    responses(
        (status = 200, description = "The bundle and its files.", body = BundleDetails),
        (status = 404, description = "There is no such bundle.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The bundle cannot be read.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn inspect(
    State(app): State<App>,
    BundlePath(id): BundlePath,
) -> Result<Json<BundleDetails>, ApiError> {
    let content = app.bundles().get(&id).await?;
    let content = content.ok_or_else(|| RequestError::NoBundle(id.to_string()))?;
    Ok(Json(view::bundle(content)))
}

/// Removes an unused bundle, also from all nodes.
#[utoipa::path(
    delete,
    path = "/databind/{id}",
    operation_id = "deleteDatabind",
    tag = "databind",
    params(("id" = String, Path, description = "Id of the bundle.", example = "0f343b0931126a20f133d67c2b018a3b")),
    responses(
        (status = 204, description = "The bundle is removed, also from all nodes."),
        (status = 404, description = "There is no such bundle.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A task that is not complete uses the bundle.", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "The bundle cannot be removed, or `volumes_left`: some nodes, which the response names, still have it; it is removed when they return.", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn delete(
    State(app): State<App>,
    BundlePath(id): BundlePath,
) -> Result<StatusCode, ApiError> {
    to_completion(async move { app.orchestrator.remove_bundle(&id).await }).await??;
    Ok(StatusCode::NO_CONTENT)
}
