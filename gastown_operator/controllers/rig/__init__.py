"""The rig controller: counts a rig's polecats and creates its Witness and Refinery."""
