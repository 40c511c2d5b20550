"""The lab's enforcer of NetworkPolicies: CNI's `bridge` knows none, so nftables does, on the node, in the cluster's namespace."""
