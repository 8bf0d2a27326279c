"""One module per dataset or layout: where its images and masks are, and what its ids mean."""
