"""What is launched: `launched` says of which kind, `container` and `scripted` are the two kinds there are."""
