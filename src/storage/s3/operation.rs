//! What S3 is asked to do: how that is called, which right it takes, and whether asking twice is the same
//! as asking once. Pure.

/// An operation of S3's API, by the name that it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    GetObject,
    HeadObject,
    ListObjects,
    GetBucketVersioning,
    GetBucketLifecycleConfiguration,
    ListObjectVersions,
    PutObject,
    /// Without a version.
    DeleteObject,
    /// Of one version, for good.
    DeleteObjectVersion,
    DeleteObjects,
    CopyObject,
    CreateMultipartUpload,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
}

impl Operation {
    /// As an error names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::ListObjects => "ListObjectsV2",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::GetBucketLifecycleConfiguration => "GetBucketLifecycleConfiguration",
            Self::ListObjectVersions => "ListObjectVersions",
            Self::PutObject => "PutObject",
            Self::DeleteObject => "DeleteObject",
            Self::DeleteObjectVersion => "DeleteObject (of a version)",
            Self::DeleteObjects => "DeleteObjects",
            Self::CopyObject => "CopyObject",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
        }
    }

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::GetObject
            | Self::ListObjects
            | Self::GetBucketVersioning
            | Self::GetBucketLifecycleConfiguration
            | Self::ListObjectVersions => "GET",
            Self::HeadObject => "HEAD",
            Self::PutObject | Self::CopyObject | Self::UploadPartCopy => "PUT",
            Self::DeleteObject | Self::DeleteObjectVersion | Self::AbortMultipartUpload => "DELETE",
            Self::DeleteObjects | Self::CreateMultipartUpload | Self::CompleteMultipartUpload => {
                "POST"
            }
        }
    }

    /// Whether asking twice is the same as asking once. Where it is not, a question whose answer was lost
    /// is not put again: what it names may have become another thing in between (a `DELETE` without a
    /// version would take what was pushed since).
    pub(super) fn is_repeatable(self) -> bool {
        match self {
            Self::GetObject
            | Self::HeadObject
            | Self::ListObjects
            | Self::GetBucketVersioning
            | Self::GetBucketLifecycleConfiguration
            | Self::ListObjectVersions
            | Self::DeleteObjectVersion
            | Self::CopyObject
            | Self::UploadPartCopy
            | Self::AbortMultipartUpload => true,
            Self::PutObject
            | Self::DeleteObject
            | Self::DeleteObjects
            | Self::CreateMultipartUpload
            | Self::CompleteMultipartUpload => false,
        }
    }

    /// Whether the server works for long before it answers: as long as the object is large, or the keys
    /// are many.
    pub(super) fn is_slow(self) -> bool {
        matches!(
            self,
            Self::DeleteObjects
                | Self::CopyObject
                | Self::UploadPartCopy
                | Self::CompleteMultipartUpload
        )
    }

    /// Whether it only reads.
    pub(super) fn is_read(self) -> bool {
        matches!(self, Self::GetObject | Self::HeadObject | Self::ListObjects)
    }

    /// What to allow where it is denied.
    pub(super) fn way_out(self, bucket: &str) -> String {
        let (rights, where_) = match self {
            Self::GetObject | Self::HeadObject | Self::ListObjects => {
                return format!(
                    "allow s3:ListBucket on the bucket `{bucket}` and s3:GetObject on what is in it"
                );
            }
            Self::DeleteObjectVersion => {
                return format!(
                    "allow s3:DeleteObjectVersion on what is in the bucket `{bucket}`; an object lock, a \
                     legal hold and MFA delete refuse it too"
                );
            }
            Self::GetBucketVersioning => ("s3:GetBucketVersioning", "the bucket"),
            Self::GetBucketLifecycleConfiguration => ("s3:GetLifecycleConfiguration", "the bucket"),
            Self::ListObjectVersions => ("s3:ListBucketVersions", "the bucket"),
            Self::PutObject => ("s3:PutObject", "what is in the bucket"),
            Self::DeleteObject | Self::DeleteObjects => {
                ("s3:DeleteObject", "what is in the bucket")
            }
            Self::CopyObject
            | Self::CreateMultipartUpload
            | Self::UploadPartCopy
            | Self::CompleteMultipartUpload => {
                ("s3:GetObject and s3:PutObject", "what is in the bucket")
            }
            Self::AbortMultipartUpload => ("s3:AbortMultipartUpload", "what is in the bucket"),
        };
        format!("allow {rights} on {where_} `{bucket}`")
    }
}
