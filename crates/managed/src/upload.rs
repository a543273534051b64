//! A new managed disk that is filled by us: made, written page by page, and handed over.
//!
//! The service knows an upload by the disk's state. It is `ReadyToUpload` or `ActiveUpload` until the grant to write is ended,
//! and no machine can have it; to end the grant is to say that all is there. So the grant of an upload that is not complete is
//! never ended: it lapses, and the disk keeps the state that tells it from one that can be used.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::credentials::TokenCredential;
use pageferry_arm::{Access, Arm, Disk, NewDisk, Origin, ResourceId};
use pageferry_azure::PageBlob;
use pageferry_core::{Etag, PageRange, Pages};
use pageferry_store::{
    Answer, Ask, ErrorKind, PageData, Properties, Receipt, Snapshot, Source, StoreError, Unfenced, View, crc,
};
use tokio::time::Instant;

use crate::copy::same_region;
use crate::disk::{GRANTS_MAX, Reading, refused};
use crate::endpoint::{address, credential, denied, of_resource, replaced};
use crate::grants::{Grant, Grants, made_again};

/// The tag that says what an upload is going to hold.
pub const TAG: &str = "pageferryrestore";

/// The longest value of a tag (learn: 256 characters).
const TAG_MAX: usize = 256;

/// How often to look whether a disk that was handed over has arrived.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A disk that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it is called.
    pub disk: ResourceId,
    /// The region.
    pub location: String,
    /// What kind of disk.
    pub sku: String,
    /// `Linux` or `Windows`, for a disk that a machine is to start from.
    pub os_type: Option<String>,
    /// `V1` or `V2`: of which generation such a machine is.
    pub generation: Option<String>,
    /// What it is going to hold, in words that nothing else has.
    pub content: String,
    /// Its size as a page blob, with the footer.
    pub size: Pages,
}

/// A disk that is being uploaded. Cloning shares everything.
#[derive(Clone)]
pub struct UploadDisk(Arc<Inner>);

struct Inner {
    arm: Arm,
    disk: ResourceId,
    /// What tells it from every other disk that may get its name.
    unique: Option<String>,
    token: Arc<dyn TokenCredential>,
    needs_token: bool,
    writing: Reading,
    grants: Grants,
    /// The blob that the newest grant opens.
    open: Mutex<Option<(u64, PageBlob)>>,
}

impl UploadDisk {
    /// Makes the disk of `order`; or goes on with one that an earlier run made for the same, which is what the second value
    /// says.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a disk that exists and is no unfinished upload of the same content, and those of Resource
    /// Manager.
    pub async fn open(
        arm: Arm,
        token: Arc<dyn TokenCredential>,
        order: &Order,
        writing: Reading,
    ) -> Result<(UploadDisk, bool), StoreError> {
        let id = &order.disk;
        let found = async {
            match arm.disk(id).await {
                Ok(found) => Ok((found, true)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Ok((arm.create_disk(id, &order.new_disk()).await?, false))
                }
                Err(error) => Err(error),
            }
        };
        let (found, resumed) = writing.scene.or_stop("Put Disk", id, found).await?;
        order.may_be_written(&found).map_err(|cause| refused("Put Disk", id, cause))?;
        let grants = Grants::new(arm.clone(), Access::Write, writing.terms, writing.scene.clone());
        let needs_token = found.needs_token();
        let open = Mutex::default();
        let unique = found.unique_id;
        let inner = Inner { arm, disk: id.clone(), unique, token, needs_token, writing, grants, open };
        Ok((UploadDisk(Arc::new(inner)), resumed))
    }

    /// Hands the disk over: says that all of it is there, and waits until it can be used.
    ///
    /// # Errors
    /// Of Resource Manager, which may find that it is no disk after all; [`ErrorKind::Transient`] where another disk has its
    /// name by now, which must not be said to be complete.
    pub async fn finish(&self) -> Result<Disk, StoreError> {
        let Inner { disk, grants, writing, .. } = &*self.0;
        self.found().await?;
        grants.give_back().await?;
        let begun = Instant::now();
        loop {
            let found = self.found().await?;
            if !is_upload(&found) && found.provisioning.eq_ignore_ascii_case("Succeeded") {
                return Ok(found);
            }
            if begun.elapsed() >= writing.terms.queue {
                let state = found.disk_state.unwrap_or_default();
                let cause =
                    format!("all of it was uploaded, but it stays {state}, provisioning {}", found.provisioning);
                return Err(StoreError::new(ErrorKind::Transient, "Get Disk", disk.to_string(), cause));
            }
            tokio::time::sleep(LOOK_EVERY.min(writing.terms.again)).await;
        }
    }

    /// Whether it is still waiting for its content, so that nobody can use it.
    ///
    /// # Errors
    /// Of Resource Manager.
    pub async fn is_waiting(&self) -> Result<bool, StoreError> {
        Ok(is_upload(&self.found().await?))
    }

    /// The disk that was opened, and not another one that has its name by now.
    async fn found(&self) -> Result<Disk, StoreError> {
        let Inner { arm, disk, unique, .. } = &*self.0;
        let found = arm.disk(disk).await?;
        if found.unique_id == *unique { Ok(found) } else { Err(made_again(disk)) }
    }

    /// Lets the grant of an upload that is not complete lapse.
    ///
    /// # Errors
    /// Of Resource Manager; it then lapses later.
    pub async fn lapse(&self) -> Result<(), StoreError> {
        self.0.grants.lapse().await
    }

    /// Does something with the blob, for as long as the service honours the grants. The receipt of a change says so where an
    /// attempt under an earlier grant may still arrive.
    async fn with<R, F>(&self, what: impl Fn(PageBlob) -> F) -> Result<(R, bool), StoreError>
    where
        F: Future<Output = Result<R, StoreError>>,
    {
        let Inner { disk, grants, needs_token, writing, .. } = &*self.0;
        let (mut stale, mut tries, mut doubtful) = (None, 0, false);
        loop {
            let grant = grants.get(disk, stale).await?;
            tries += 1;
            match what(self.blob(&grant)?).await {
                Ok(result) => return Ok((result, doubtful)),
                Err(error) if error.kind() == ErrorKind::Denied && tries < GRANTS_MAX => {
                    writing.scene.say(replaced(disk));
                    stale = Some(grant.generation);
                    doubtful |= error.failure().attempts > 1;
                }
                Err(error) if error.kind() == ErrorKind::Denied => return Err(denied(&error, disk, *needs_token)),
                Err(error) => return Err(of_resource(&error, disk)),
            }
        }
    }

    /// The same for a change.
    async fn change<F>(&self, what: impl Fn(PageBlob) -> F) -> Result<Receipt, StoreError>
    where
        F: Future<Output = Result<Receipt, StoreError>>,
    {
        let (receipt, doubtful) = self.with(what).await?;
        let unknown_at = receipt.unknown_at.or(doubtful.then(Instant::now));
        Ok(Receipt { unknown_at, ..receipt })
    }

    /// The blob that `grant` opens.
    fn blob(&self, grant: &Grant) -> Result<PageBlob, StoreError> {
        let Inner { disk, token, needs_token, writing, open, .. } = &*self.0;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some((generation, blob)) if *generation == grant.generation => Ok(blob.clone()),
            _ => {
                let address = address(grant)?;
                let credential = credential(&address, needs_token.then(|| Arc::clone(token)), disk)?;
                let blob = PageBlob::new(address, &credential, writing.options.clone())?;
                *open = Some((grant.generation, blob.clone()));
                Ok(blob)
            }
        }
    }
}

impl Order {
    fn new_disk(&self) -> NewDisk {
        NewDisk {
            location: self.location.clone(),
            sku: Some(self.sku.clone()),
            origin: Origin::Upload { bytes: self.size.bytes() },
            tags: BTreeMap::from([(TAG.to_owned(), self.tag())]),
            os_type: self.os_type.clone(),
            generation: self.generation.clone(),
            // What is uploaded is a VHD, whatever these kinds of disk would choose.
            sector_size: ["UltraSSD", "PremiumV2"].iter().any(|kind| self.sku.starts_with(kind)).then_some(512),
            disk_encryption_set: None,
            network_policy: None,
        }
    }

    /// The content, in as many characters as a tag may have.
    fn tag(&self) -> String {
        if self.content.chars().count() <= TAG_MAX {
            return self.content.clone();
        }
        let sum = format!("…{:016x}", crc::crc64(self.content.as_bytes()));
        self.content.chars().take(TAG_MAX - sum.chars().count()).collect::<String>() + &sum
    }

    /// Whether `found`, under the name of this order, is waiting for just this content; if not, what to do.
    fn may_be_written(&self, found: &Disk) -> Result<(), String> {
        let delete = format!("delete it (az disk delete --ids {})", self.disk);
        let ours = found.tags.get(TAG) == Some(&self.tag());
        if !is_upload(found) {
            let which = if ours { ", restored from this very point, and may have been used since" } else { "" };
            return Err(format!(
                "it exists{which}: a disk is never written to again, so name another one, or {delete} first"
            ));
        }
        if !ours {
            return Err(format!("it is waiting for an upload of something else: name another disk, or {delete} first"));
        }
        let differs = |what: &str, has: &str, wanted: &str| {
            Err(format!("it was begun {what} {has}, not {wanted}: say {has}, or {delete} first"))
        };
        if found.upload_size != Some(self.size.bytes()) {
            let has = found.upload_size.map_or("no size".to_owned(), |bytes| format!("{bytes} bytes"));
            return Err(format!("it was begun with {has}, not {} bytes: {delete} first", self.size.bytes()));
        }
        if !same_region(&found.location, &self.location) {
            return differs("in the region", &found.location, &self.location);
        }
        match &found.sku {
            Some(sku) if !sku.eq_ignore_ascii_case(&self.sku) => differs("as a disk of", sku, &self.sku),
            _ => Ok(()),
        }
    }
}

/// Whether a disk waits for its content, so that nobody can use it.
fn is_upload(disk: &Disk) -> bool {
    let state = disk.disk_state.as_deref().unwrap_or_default();
    ["ReadyToUpload", "ActiveUpload"].iter().any(|upload| state.eq_ignore_ascii_case(upload))
}

impl Source for UploadDisk {
    fn address(&self) -> String {
        self.0.disk.to_string()
    }

    fn in_flight_max(&self) -> usize {
        self.0.writing.in_flight_max()
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        Ok(self.with(|blob| async move { blob.properties(view).await }).await?.0)
    }

    /// An upload has none.
    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        Ok(Vec::new())
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        Ok(self.with(|blob| async move { blob.list(ask).await }).await?.0)
    }

    async fn read(&self, view: &View, range: PageRange, _: Option<&Etag>) -> Result<(PageData, Receipt), StoreError> {
        Ok(self.with(|blob| async move { blob.read(view, range, None).await }).await?.0)
    }
}

impl Unfenced for UploadDisk {
    async fn write_unfenced(&self, range: PageRange, data: &PageData) -> Result<Receipt, StoreError> {
        self.change(|blob| async move { blob.write_unfenced(range, data).await }).await
    }

    async fn clear_unfenced(&self, range: PageRange) -> Result<Receipt, StoreError> {
        self.change(|blob| async move { blob.clear_unfenced(range).await }).await
    }
}

impl fmt::Debug for UploadDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadDisk({})", self.0.disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> Order {
        Order {
            disk: ResourceId::disk("5ab", "g1", "web1").unwrap(),
            location: "West Europe".to_owned(),
            sku: "Premium_LRS".to_owned(),
            os_type: None,
            generation: None,
            content: "https://vault.blob.core.windows.net/b/web1@1".to_owned(),
            size: Pages::from_bytes((1 << 30) + 512).unwrap(),
        }
    }

    /// The disk that `order` makes, as it is found again.
    fn found(order: &Order) -> Disk {
        Disk {
            id: order.disk.clone(),
            name: "web1".to_owned(),
            location: "westeurope".to_owned(),
            time_created: String::new(),
            unique_id: None,
            size_bytes: None,
            completion_percent: None,
            provisioning: "Succeeded".to_owned(),
            disk_state: Some("ReadyToUpload".to_owned()),
            source: None,
            create_option: Some("Upload".to_owned()),
            upload_size: Some(order.size.bytes()),
            sector_size: Some(512),
            network_policy: None,
            auth_mode: None,
            encryption_type: None,
            disk_encryption_set: None,
            managed_by: None,
            sku: Some("Premium_LRS".to_owned()),
            tags: order.new_disk().tags,
        }
    }

    #[test]
    fn only_an_unfinished_upload_of_the_same_content_is_gone_on_with() {
        let order = order();
        let ready = found(&order);
        assert_eq!(order.may_be_written(&ready), Ok(()));
        let active = Disk { disk_state: Some("activeupload".to_owned()), ..ready.clone() };
        assert_eq!(order.may_be_written(&active), Ok(()));
        let in_use = |state: Option<&str>| Disk { disk_state: state.map(str::to_owned), ..ready.clone() };
        for (found, why) in [
            (in_use(Some("Unattached")), "restored from this very point"),
            (in_use(Some("Attached")), "never written to again"),
            (in_use(None), "never written to again"),
            (Disk { tags: BTreeMap::new(), ..in_use(Some("Unattached")) }, "it exists: a disk is never"),
            (Disk { tags: BTreeMap::new(), ..ready.clone() }, "something else"),
            (Disk { upload_size: Some(1), ..ready.clone() }, "begun with 1 bytes"),
            (Disk { upload_size: None, ..ready.clone() }, "begun with no size"),
            (Disk { location: "northeurope".to_owned(), ..ready.clone() }, "in the region northeurope"),
            (Disk { sku: Some("Standard_LRS".to_owned()), ..ready.clone() }, "of Standard_LRS"),
        ] {
            let refusal = order.may_be_written(&found).unwrap_err();
            assert!(refusal.contains(why) && refusal.contains("az disk delete --ids /subscriptions/5ab"), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_is_short_and_tells_contents_apart(long in "[a-zäö]{200,400}", one in "[a-z]", other in "[a-z]") {
            let tag = |end: &str| Order { content: format!("{long}{end}"), ..order() }.tag();
            prop_assert!(tag(&one).chars().count() <= TAG_MAX);
            prop_assert_eq!(tag(&one) == tag(&other), one == other);
        }
    }

    #[test]
    fn what_is_uploaded_has_sectors_of_512_bytes() {
        let of = |sku: &str| Order { sku: sku.to_owned(), ..order() }.new_disk().sector_size;
        assert_eq!((of("PremiumV2_LRS"), of("UltraSSD_LRS"), of("Standard_LRS")), (Some(512), Some(512), None));
    }
}
