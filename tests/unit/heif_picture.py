"""A line of text as phones save pictures: nothing that the project installs can write one."""

from __future__ import annotations

import base64

# Made with pillow-heif.
HEIF_PICTURE = base64.b85decode(
    "0000SW^{RQXk}?*00000ZE0pPXk}?*ZE0a<0004gZDn*}000000000XXk=`10000000000aA{+700000000000000000000B57=IV*mgE07O6l"
    "0RRC200001q5uH^0000000jU5001LtX>Mi!000000RR916=`l}WdZ;I000310BCk&F#rGn01j|zbZr0t000010002~X>f9I0002qX>en20001Y"
    "Xm(>m0RwOV0058x000009`FGC{rLC*01pFT0096PKmiN^|NjGU00093kN^M!000939=ZZRVE_RDD?$MQ18@KU0|1Z!00RI30{|YN4ag8#Zmvpe"
    "n}CLc0ssI505Sjo0{{XLVgLaE21EhDbHRxK000wXZ)|dIV{CW;0RRmE27mwn02FC+aAg1h000000k{AF06+i$04QT@VQ>Hd0k{AF0096106YKy"
    "009610000000RI2|NH;|00IC201$9#cxeCt0009B2nYZG02pa-ZD9Za00000009621%Uzs1%v<q1qf|qVRQfh1pFuguLM*oaDe=R(Zzo>A6<^C"
    "%5zyeW#5Q3IFz;KLJ*Fak46Jf9TULRiM%DJ(b^es`z*1l=WkH<1~$nYeC7Z9e{7dc_$n3UC#-NkbztlSsbQhF`Spf3zM<n2gR_KhC+Z5n?p<rR"
    "LD<ur$n;?^{(fG@n#%K0Y!j}rKF7_s+X5c7((^|tXTsdwcWgH?)1F;Y;3AyGs@BYDi0})ScBojluGt2H_7j(aCt#o$;z_x!-=qXw3~4PiIIs>-"
    "_u7x2MR*I~c$ZGWO5Hou<VfK?>~JEQMphjKu~XDwD*PqPmt`aI8}w>HlAH4D{t|1rg^*Ni?}SS$vw$cqn%TEuz7I2I@C;r>tMCwwJ-X?;O>lfE"
    "TukRj1R-Y_IC!L4+DqQlVQ?|3kauKQFMEEsMg>=o8(**?uC10%IyFkcyV*K@pf)3(*7MxMy6AnYHMz@(EXm@~SAKcKX}7f^0G-iE++^7gXa;j@"
    "TVP~$!q##qLLGj1SJG;~My}GpiiMZTR49}AnCx01!6x*8X33!DsLP!kS2K1!`>+Ap6wGqj-Qzu-82h%3rPd5FOV4I({gx)9KfL}{TTd10Sbcg^"
    "tTdZT$NqF6uubpEJ9iFLa}xPVWm0H%i<uHSL(C<F_WG}2AvKxY0^D~?)Vo|Dk_dVNUt!Z7eSjwzFEHiVF!6l_g%eX&{N{{>l2}~n)dNnRH`B5a"
    "TfnGpn9|B60m?Sle(siU%u-lV*jDS;h40mwgdOIa>u=feju{4urZ)$QJ~8*Lw2Pn_=p_Zf9|*O{yc0dFp=*|O2vX!2KLFUF>H`FX8+j3s02)xM"
    "Ar@{nc{V&c;&~N!4_VM9VpMAzzYA+#M*0R>&~`ul+<{hrp@B|QC0&AKxIFIt{VD>-&MHddy8l^^dh8)4<lPG&1Dki35CHx9UYDcDJ+r2t+UI<Y"
    "tmFV$3Yics^~ZeNf~TGuTV&=C6bj@)Xt(;8xYJ3Cmohxs8}5wLGnUPyJ&RyUTLIwj{~?=*uW@MrPnAlCx4*)d+;x1uXE%k@#^_d9rul|<*Fv}c"
    "-NK7wZ~h>&3@+TotNN6VtVzAUT`rPk@vxu(((c24dQ9gqkMqq40IA-Af>*aT=sjNp@b<kSs=3II%LdT87Kq`=GK-Y4FDOJHyJXha>p#P2`Q$i8"
    "nF2C)Td!}v(S^hd8a<X1WvGn{^7KF|JpLN+;Ey9#JNe~st0~kg$iRMJ5*ka%N%77(g;@^KZdWDG8Zs0WYGh5}9dJN9kfh+yW-8UKdgZOf28=Wj"
    "E%u_oc5bdW(L><S#;qGWIom)5=gMxgrV#WnciGEGgy>-%-eVpOGNz3)vyI@QC5CdLg^j}OWA*>mHq^NuB*rNWN_2O9Rbp^2X0v;c;vb%urj#57"
    "$WR*3&*ch?;)~z%v{auXo10|gg|8<2x^xZVpMw#@?5X-lj;rX7;Y67Xko5-TvE<5ISBmu(3W@rn=jv3;f)W0Np?P-PGz!|wz$By|^cU}WO-!gD"
    "_<Wo$8%KN%?E~lRk~yA1GOz+gWqF>WK<t$K?cZBZaAxw>v1E|`Ux9ZT{S-opO^B}{=DVCJu#4rPo;*PwE)t%Yk1GcTu3&#lDg#Q)s5BZKkO4FZ"
    "<XoPwR66d&ALrT(g82m|z7(#&gh2?tNq_"
)
HEIF_TEXT = "Water runs down to the sea."
