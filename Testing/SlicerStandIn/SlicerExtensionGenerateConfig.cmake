# In Slicer this lets other extensions link to libraries of this one; a scripted extension has none.
